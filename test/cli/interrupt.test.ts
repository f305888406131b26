import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { entry } from "../training/fixtures/tar.js"
import { run, type Running, seen, start, temporary } from "./support.js"

let folder: ReturnType<typeof temporary>
let env: Readonly<Record<string, string>>
let work: string

beforeEach(() => {
  folder = temporary()
  const tmp = join(folder.path, "tmp")
  work = join(folder.path, "work")
  mkdirSync(tmp)
  mkdirSync(work)
  // whatever the program puts aside is put here
  env = { TMPDIR: tmp, TEMP: tmp, TMP: tmp }
})
afterEach(() => folder.remove())

const leftovers = () => [...readdirSync(join(folder.path, "tmp")), ...readdirSync(work)]

const interrupt = (running: Running, signal: NodeJS.Signals = "SIGINT") => {
  running.child.kill(signal)
  return running.done
}

/** A service that answers what it is told to, and never ends what it is asked for last. */
const service = async (
  answer: (path: string, response: ServerResponse) => boolean
): Promise<{ readonly url: string; readonly paths: ReadonlyArray<string>; readonly close: () => void }> => {
  const paths: Array<string> = []
  const server: Server = createServer((request, response) => {
    const path = (request.url ?? "").replace("/api/v1/", "")
    paths.push(path)
    request.resume()
    request.on("end", () => {
      if (!answer(path, response)) {
        response.writeHead(200, { "content-type": "application/json" })
        response.end(JSON.stringify({
          session_id: "s",
          sampling_session_id: "s:sample:0",
          sampler_id: "s:sample:0",
          base_model: "tinkex/nano",
          request_id: "r",
          sample_sequence_ids: ["q"]
        }))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    paths,
    close: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}

describe("Ctrl-C", () => {
  it("serve ends at once and leaves no temporary data; SIGTERM has its own code", async () => {
    for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
      const running = start(["serve", "--port", "0"], { env, cwd: work })
      await seen(running, /listening on/)
      assert.strictEqual((await interrupt(running, signal)).code, code)
      assert.deepStrictEqual(leftovers(), [])
    }
  })

  it("demo ends at once and leaves nothing", async () => {
    const running = start(["demo", "--steps", "2000"], { env, cwd: work })
    await seen(running, /Teaching/)
    // the server is up and trains once its temporary folder is there
    while (readdirSync(join(folder.path, "tmp")).length === 0) await new Promise((resolve) => setImmediate(resolve))
    assert.strictEqual((await interrupt(running)).code, 130)
    assert.deepStrictEqual(leftovers(), [])
  })

  it("sample ends at once, tells the service so, and leaves no file", async () => {
    let asked = () => {}
    const polled = new Promise<void>((resolve) => {
      asked = resolve
    })
    const fake = await service((path) => {
      if (path === "retrieve_future") asked()
      return path === "retrieve_future"
    })
    try {
      const running = start(
        ["sample", "--base-model", "tinkex/nano", "--prompt", "x", "-o", "out.txt", "--base-url", fake.url],
        { env, cwd: work }
      )
      await Promise.race([polled, running.done.then(({ err }) => assert.fail(err))])
      assert.strictEqual((await interrupt(running)).code, 130)
      assert.deepStrictEqual(leftovers(), [])
      assert.include(fake.paths, "sessions/s/finish")
    } finally {
      fake.close()
    }
  })

  it("checkpoint download leaves nothing of the new, and all of the old", async () => {
    const half = entry("adapter_model.safetensors", new Uint8Array(300_000)).subarray(0, 200_000)
    let sent = () => {}
    const halfway = new Promise<void>((resolve) => {
      sent = resolve
    })
    const fake = await service((path, response) => {
      if (path.endsWith("/archive")) {
        response.writeHead(302, { location: "/files/archive.tar" }).end()
        return true
      }
      if (!path.includes("files/")) return false
      response.writeHead(200, { "content-length": 310_000 })
      response.write(half, () => sent())
      return true
    })
    try {
      const target = join(work, "r_weights_a")
      mkdirSync(target)
      writeFileSync(join(target, "old"), "old")
      const running = start(
        ["checkpoint", "download", "tinker://r/weights/a", "--force", "--base-url", fake.url],
        { env, cwd: work }
      )
      await Promise.race([halfway, running.done.then(({ err }) => assert.fail(err))])
      while (readdirSync(work).length === 1) await new Promise((resolve) => setImmediate(resolve))
      assert.strictEqual((await interrupt(running)).code, 130)
      assert.deepStrictEqual(leftovers(), ["r_weights_a"])
      assert.deepStrictEqual(readdirSync(target), ["old"])
    } finally {
      fake.close()
    }
  })

  it("a reader that has seen enough is no failure", async () => {
    const running = start(["--help"])
    running.child.stdout?.destroy()
    assert.strictEqual((await running.done).code, 0)
    assert.strictEqual((await run(["version"])).code, 0)
  })
})
