import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as NodeTinkex from "../../src/NodeTinkex.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as Dataset from "../../src/runs/Dataset.js"
import * as Run from "../../src/runs/Run.js"
import * as RunDirectory from "../../src/runs/RunDirectory.js"
import * as Schedule from "../../src/runs/Schedule.js"
import * as Tinkex from "../../src/Tinkex.js"
import * as Tokenizers from "../../src/tokenizer/Tokenizers.js"
import { type Running, seen, start, temporary } from "../cli/support.js"

const deep = process.env["TINKEX_DEEP"] === "1"
const examples = Array.from({ length: 9 }, (_, i) => Datum.fromCompletion([1 + i, 2], [3 + i, 4, 5]))
const total = 12

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      // address() is an AddressInfo once a TCP server listens
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

/** A server process that can be killed and started again where it was. */
const makeServer = async (dataDir: string) => {
  const port = await freePort()
  const begin = async (): Promise<Running> => {
    const running = start(["serve", "--port", String(port), "--data-dir", dataDir])
    await seen(running, /listening on/)
    return running
  }
  let running = await begin()
  return {
    url: `http://127.0.0.1:${port}`,
    kill: async () => {
      running.child.kill("SIGKILL")
      await running.done
      running = await begin()
    },
    stop: async () => {
      running.child.kill("SIGKILL")
      await running.done
    }
  }
}

/** Kills the server after so many answers of each of its lives. */
const deadly = (server: { readonly kill: () => Promise<void> }, after: Array<number>) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (real) => {
      let answers = 0
      let killing = false
      const count = Effect.suspend(() => {
        if (killing || ++answers !== after[0]) return Effect.void
        after.shift()
        killing = true
        return Effect.promise(async () => {
          await server.kill()
          answers = 0
          killing = false
        })
      })
      return HttpClient.transform(real, (effect) => Effect.tap(effect, () => count))
    })
  ).pipe(Layer.provide(NodeTinkex.layerHttpClient()))

const train = (directory: string) =>
  Effect.gen(function*() {
    const run = yield* Run.open(directory, {
      config: { baseModel: "tinkex/nano-random", rank: 2 },
      seed: 4,
      recovery: { maxAttempts: 20, backoff: "100 millis", backoffCap: "1 second" }
    })
    let recoveries = 0
    yield* Effect.forkScoped(Stream.runForEach(yield* run.events, (event) =>
      Effect.sync(() => {
        if (event._tag === "Recovery" && event.event._tag === "Completed" && event.event.runId !== "") recoveries++
      })))
    yield* run.train({
      batches: yield* Dataset.fromArray(examples, { batchSize: 2 }),
      loss: "cross_entropy",
      total,
      adam: Schedule.linear(2e-2, total),
      checkpoint: { every: 3, keep: 2, sampler: false }
    })
    const rows = Array.from(yield* Stream.runCollect(RunDirectory.metrics(directory)))
    const logprobs = yield* run.use(({ service }) =>
      Effect.gen(function*() {
        const client = yield* service.createTrainingClientFromStateWithOptimizer((yield* run.checkpoints).at(-1)!.path)
        yield* client.forwardBackward(examples, "cross_entropy")
        yield* client.optimStep({ learningRate: 1e-2 })
        const { lossFnOutputs } = yield* Effect.flatMap(client.forward(examples, "cross_entropy"), Future.await)
        return lossFnOutputs.map((output) => Array.from(output["logprobs"]!.data, Number))
      })
    )
    return { steps: rows.map(({ step, train_mean_nll }) => [step, train_mean_nll]), logprobs, recoveries }
  })

describe("a run is exact, whenever its server dies", () => {
  it("SIGKILL at random moments", async () => {
    const folder = temporary()
    const server = await makeServer(`${folder.path}/data`)
    const life = (name: string, after: Array<number>) =>
      Effect.runPromise(
        Effect.scoped(train(`${folder.path}/${name}`)).pipe(
          Effect.provide(
            ServiceClient.layer({ baseUrl: server.url, telemetry: false, retry: { times: 1, base: "50 millis" } })
          ),
          Effect.provide(Tinkex.layerShared({ metrics: false, tokenizers: Tokenizers.layer })),
          Effect.provide(deadly(server, after)),
          Effect.provide(NodeContext.layer)
        )
      )
    try {
      const expected = await life("whole", [])
      assert.strictEqual(expected.steps.length, total)
      let random = 1
      const next = (below: number) => {
        random = (random * 48_271) % 0x7fffffff
        return random % below
      }
      const lives = deep ? 17 : 1
      let kills = 0
      for (let i = 0; i < lives; i++) {
        // three deaths in one life of the run: 51 in all
        const after = Array.from({ length: 3 }, () => 8 + next(50))
        const actual = await life(`run${i}`, after)
        kills += 3 - after.length
        assert.deepStrictEqual(
          { steps: actual.steps, logprobs: actual.logprobs },
          { steps: expected.steps, logprobs: expected.logprobs },
          `life ${i}`
        )
        assert.isAtLeast(actual.recoveries, 1)
      }
      assert.isAtLeast(kills, lives)
      if (deep) process.stderr.write(`${kills} deaths of the server\n`)
    } finally {
      await server.stop()
      folder.remove()
    }
  }, deep ? 3_600_000 : 180_000)
})
