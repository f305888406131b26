import { afterAll, assert, describe, it } from "@effect/vitest"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { run, seen, serve, temporary } from "./support.js"

const folder = temporary()
afterAll(() => folder.remove())

const script = (name: string, content: string): string => {
  const path = join(folder.path, name)
  writeFileSync(path, content)
  return path
}

describe("serve --faults", () => {
  it("misbehaves as the script says, and no longer than that", async () => {
    const rule = { endpoint: "create_session", fault: { type: "status", status: 503 }, count: 2 }
    const server = await serve("--faults", script("some.json", JSON.stringify({ seed: 3, rules: [rule] })))
    await seen(server.running, /misbehaving as .*some\.json says/)
    const statuses = []
    for (let i = 0; i < 3; i++) {
      const { status } = await fetch(`${server.url}/api/v1/create_session`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ tags: [], user_metadata: {}, sdk_version: "0.38.0", type: "create_session" })
      })
      statuses.push(status)
    }
    await server.stop()
    assert.deepStrictEqual(statuses, [503, 503, 200])
  })

  it("refuses a script that it does not understand, with the place, before it listens", async () => {
    for (
      const [content, expected] of [
        [
          `{"rules":[{"endpoint":"asampel","fault":{"type":"reset"}}]}`,
          "rules.0.endpoint: expected the last fixed part"
        ],
        [`{"rules":[{"fault":{"type":"status","status":200}}]}`, "rules.0.fault.status: Expected a number between 400"],
        [`{"rules":`, "not JSON"]
      ] as const
    ) {
      const { code, err, out } = await run(["serve", "--port", "0", "--faults", script("bad.json", content)])
      assert.strictEqual(code, 1)
      assert.include(err, expected)
      assert.strictEqual(out, "")
    }
  })
})
