import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("../..", import.meta.url))

describe("memory", () => {
  it("stays level over a thousand steps", async () => {
    // A small nursery, no helper threads and one malloc arena: what is measured is memory held, not garbage still to be
    // collected nor code that is being compiled.
    const options = ["--expose-gc", "--max-semi-space-size=2", "--single-threaded", "--import", "tsx"]
    const { stdout } = await promisify(execFile)(process.execPath, [...options, "test/engine/memorySteps.ts"], {
      cwd: root,
      env: { ...process.env, MALLOC_ARENA_MAX: "1" }
    })
    // The script prints one object.
    const { after100, after1000 } = JSON.parse(stdout) as Record<
      string,
      { readonly rss: number; readonly words: number }
    >
    assert.strictEqual(after1000!.words, after100!.words)
    assert.isBelow(after1000!.rss, after100!.rss * 1.05)
  })
})
