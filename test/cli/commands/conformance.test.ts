import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { json, run, serve, type Server } from "../support.js"

let server: Server
beforeAll(async () => {
  server = await serve()
})
afterAll(() => server.stop())

const at = (...args: ReadonlyArray<string>) => ["conformance", ...args, "--base-url", server.url]

describe("conformance", () => {
  it("shows a table of groups, and ends with 0 when nothing failed", async () => {
    const { code, err, out } = await run(at("--only", "wire", "--only", "polls/again"))
    assert.strictEqual(code, 0, err)
    assert.match(out, /^Group +Passed +Lacking +Failed\nwire +15 +0 +0\npolls +1 +0 +0\n$/)
    assert.match(err, /^16 checks of http:\/\/127\.0\.0\.1:\d+, \d+ tokens at most/)
  })

  it("prints JSON or JUnit alone", async () => {
    const report = await json(at("--only", "sessions"))
    assert.containsAllKeys(report, ["baseUrl", "baseModel", "results", "features"])
    const { out } = await run(at("--only", "sessions", "--junit"))
    assert.match(out, /^<\?xml[^]*<testsuite [^>]*tests="6" failures="0" errors="0"[^]*<\/testsuites>\n$/)
  })

  it("lists checks without a server, and refuses names that are none", async () => {
    const { code, out } = await run(["conformance", "--list", "--only", "losses"])
    assert.strictEqual(code, 0)
    assert.match(out, /^losses\/ppo +\d+ +ppo takes the smaller/m)
    const unknown = await run(at("--only", "nothing"))
    assert.deepStrictEqual([unknown.code, unknown.out], [1, ""])
    assert.include(unknown.err, "no check is called nothing")
  })

  it("asks before another machine is charged, keeps to its budget, and fails where nobody answers", async () => {
    const asked = await run(["conformance", "--base-url", "http://example.invalid"])
    assert.strictEqual(asked.code, 1)
    assert.include(asked.err, "add --yes")
    const dear = await run(at("--budget", "10"))
    assert.strictEqual(dear.code, 1)
    assert.include(dear.err, "the budget is 10")
    const nobody = await run(["conformance", "--base-url", "http://127.0.0.1:9", "--only", "wire"])
    assert.strictEqual(nobody.code, 1)
    assert.include(nobody.err, "get_server_capabilities")
  })
})
