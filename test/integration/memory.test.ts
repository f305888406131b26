import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { sized } from "../support/deep.js"

const concurrent = sized(10_000)
const kilobyte = 1024
const megabyte = 1024 * kilobyte

interface Report {
  readonly done: number
  readonly pending: number
  readonly heapHeld: number
  readonly rssHeld: number
  readonly heapKept: number
  readonly rssKept: number
}

const measure = async (): Promise<Report> => {
  const child = fileURLToPath(new URL("./fixtures/memory.ts", import.meta.url))
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--expose-gc", "--import", "tsx", child, String(concurrent)],
    { cwd: fileURLToPath(new URL("../..", import.meta.url)) }
  )
  return JSON.parse(stdout)
}

describe("memory", () => {
  it(
    `${concurrent} samples at once hold 64 KiB each at most, and give it back`,
    async () => {
      const report = await measure()
      assert.strictEqual(report.done, concurrent)
      assert.strictEqual(report.pending, 0)
      assert.isBelow(report.heapHeld, concurrent * 64 * kilobyte)
      assert.isBelow(report.rssHeld, concurrent * 96 * kilobyte)
      // less than a kilobyte of each is left, and the process is about as large as before
      assert.isBelow(report.heapKept, 10 * megabyte)
      assert.isBelow(report.rssKept, report.rssHeld / 4)
    },
    120_000
  )
})
