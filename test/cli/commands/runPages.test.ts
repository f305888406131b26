import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { existsSync, readFileSync } from "node:fs"
import * as ServiceClient from "../../../src/client/ServiceClient.js"
import * as NodeTinkex from "../../../src/NodeTinkex.js"
import * as Datum from "../../../src/protocol/Datum.js"
import * as Dataset from "../../../src/runs/Dataset.js"
import * as Run from "../../../src/runs/Run.js"
import * as Tokenizers from "../../../src/tokenizer/Tokenizers.js"
import { json, run, seen, serve, start, temporary } from "../support.js"

/** A run of a few steps on a server. */
const train = (baseUrl: string, directory: string) =>
  Effect.gen(function*() {
    const run = yield* Run.open(directory, { config: { baseModel: "tinkex/nano", rank: 2 } })
    const batches = yield* Dataset.fromArray([Datum.fromCompletion([1, 2], [3])], { batchSize: 1 })
    yield* run.train({ batches, total: 3, loss: "cross_entropy", checkpoint: { every: 1 } })
  }).pipe(
    Effect.scoped,
    Effect.provide(ServiceClient.layer({ baseUrl })),
    Effect.provide(NodeTinkex.layerShared({ metrics: false, tokenizers: Tokenizers.layer })),
    Effect.provide(Layer.mergeAll(NodeContext.layer)),
    Effect.runPromise
  )

describe("runs of this machine", () => {
  it("report, run watch and run prune", async () => {
    const folder = temporary()
    const directory = `${folder.path}/my-run`
    const server = await serve("--data-dir", `${folder.path}/data`)
    try {
      await train(server.url, directory)

      const report = await run(["report", directory])
      assert.deepStrictEqual([report.code, report.out.trim()], [0, `${directory}/report.html`])
      assert.include(readFileSync(`${directory}/report.html`, "utf8"), "<title>my-run – tinkex</title>")
      const other = await run(["report", directory, directory, "-o", `${folder.path}/two.html`])
      assert.strictEqual(other.code, 0, other.err)
      assert.include(readFileSync(`${folder.path}/two.html`, "utf8"), "<title>my-run, my-run – tinkex</title>")
      const shown = await json(["report", directory])
      assert.strictEqual((shown as ReadonlyArray<{ readonly steps: number }>)[0]!.steps, 3)
      const missing = await run(["report", `${folder.path}/nowhere`])
      assert.strictEqual(missing.code, 2)
      assert.isFalse(existsSync(`${folder.path}/nowhere`))

      const watching = start(["run", "watch", directory, "--port", "0"])
      const [, url] = await seen(watching, /watching at (http:\S+)/)
      const page = await fetch(url!)
      assert.strictEqual(page.status, 200)
      assert.include(await page.text(), "data-live")
      const events = await fetch(`${url}events`)
      const { value } = await events.body!.getReader().read()
      assert.match(new TextDecoder().decode(value), /^data: \[\{"name":"my-run"/)
      watching.child.kill("SIGINT")
      assert.strictEqual((await watching.done).code, 130)

      const at = ["--base-url", server.url]
      const planned = await json(["run", "prune", directory, "--keep", "1", "--dry-run", ...at])
      const paths = (planned as { readonly removable: ReadonlyArray<{ readonly path: string }> }).removable
      assert.deepStrictEqual(paths.map(({ path }) => path.split("/").slice(3).join("/")), [
        "weights/000001",
        "sampler_weights/000001"
      ])
      const asked = await run(["run", "prune", directory, "--keep", "1", ...at])
      assert.strictEqual(asked.code, 1)
      assert.include(asked.err, "add --yes")
      const pruned = await run(["run", "prune", directory, "--keep", "1", "--yes", ...at])
      assert.strictEqual(pruned.code, 0, pruned.err)
      assert.include(pruned.err, "2 removed")
      const again = await run(["run", "prune", directory, "--keep", "1", "--yes", ...at])
      assert.include(again.err, "nothing to remove")
    } finally {
      await server.stop()
      folder.remove()
    }
  }, 120_000)
})
