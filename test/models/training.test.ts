/** SmolLM2-135M-Instruct learns, within the memory that is promised, and a killed server goes on with the same bits. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Datum, Future, ServiceClient } from "tinkex"
import * as NodeTinkex from "tinkex/NodeTinkex"
import { serve, type Server, temporary } from "../cli/support.js"

const path = process.env["TINKEX_TEST_MODEL"]!
const root = fileURLToPath(new URL("../..", import.meta.url))

describe("the example", () => {
  it("takes the loss of messages that it never saw down by more than a third, and answers as it was taught", async () => {
    const child = spawn(process.execPath, ["--import", "tsx", "examples/real-model.ts", path], { cwd: root })
    let output = ""
    child.stdout.on("data", (piece) => output += String(piece))
    child.stderr.on("data", (piece) => output += String(piece))
    const [code] = await once(child, "close")
    assert.strictEqual(code, 0, output)
    const [, before, after] = /held-out loss: (\d+\.\d+) -> (\d+\.\d+)/.exec(output)!.map(Number)
    assert.isBelow(after!, before! * 2 / 3, output)
    const [untaught, taught] = Array.from(output.matchAll(/(\d) of 8 are right/g), ([, count]) => Number(count))
    assert.strictEqual(untaught, 0, output)
    assert.isAtLeast(taught!, 6, output)
  })
})

/** The most memory that a process has had, in megabytes. */
const peak = (pid: number): number =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1000

const clients = (server: Server) => NodeTinkex.layer({ baseUrl: server.url })

const lessons = ["one", "two", "three", "four"].map((word, i) => [`Count: ${"a ".repeat(40 + i)}`, `${word}!`] as const)

describe("tinkex serve", () => {
  it("serves and trains within 700 MB, is killed, and continues from the checkpoint with the same bits", async () => {
    const folder = temporary()
    const args = ["--data-dir", folder.path, "--model", `smollm2=${path}`]
    try {
      const first = await serve(...args)
      const data = (encode: (text: string) => Int32Array) =>
        lessons.map(([question, answer]) => Datum.fromCompletion(encode(question), encode(answer)))

      const saved = await Effect.gen(function*() {
        const service = yield* ServiceClient.ServiceClient
        const training = yield* service.createLoraTrainingClient({ baseModel: "smollm2", rank: 8, seed: 3 })
        const batch = data((yield* training.tokenizer).encode)
        const step = Effect.gen(function*() {
          const gradients = yield* training.forwardBackward(batch, "cross_entropy")
          const update = yield* training.optimStep({ learningRate: 1e-3 })
          return yield* Effect.all([Future.await(gradients), Future.await(update)])
        })
        yield* step
        const { path } = yield* Effect.flatMap(training.saveState("one"), Future.await)
        const next = yield* step
        const sampler = yield* training.saveWeightsAndGetSamplingClient
        const { sequences } = yield* sampler.sample({ prompt: batch[0]!.modelInput, maxTokens: 8, seed: 5 })
        return { path, next, tokens: sequences[0]!.tokens }
      }).pipe(Effect.scoped, Effect.provide(clients(first)), Effect.runPromise)
      const { pid } = first.running.child
      if (existsSync(`/proc/${pid}/status`)) assert.isBelow(peak(pid!), 700)

      first.running.child.kill("SIGKILL")
      await first.running.done
      const second = await serve(...args)
      const again = await Effect.gen(function*() {
        const service = yield* ServiceClient.ServiceClient
        const training = yield* service.createTrainingClientFromStateWithOptimizer(saved.path)
        const batch = data((yield* training.tokenizer).encode)
        const gradients = yield* training.forwardBackward(batch, "cross_entropy")
        const update = yield* training.optimStep({ learningRate: 1e-3 })
        const next = yield* Effect.all([Future.await(gradients), Future.await(update)])
        const sampler = yield* training.saveWeightsAndGetSamplingClient
        const { sequences } = yield* sampler.sample({ prompt: batch[0]!.modelInput, maxTokens: 8, seed: 5 })
        return { next, tokens: sequences[0]!.tokens }
      }).pipe(Effect.scoped, Effect.provide(clients(second)), Effect.runPromise)
      await second.stop()
      // `clock_cycle:unique` counts what one process has done, not what was computed.
      const { metrics: { "clock_cycle:unique": _, ...metrics }, ...rest } = saved.next[0]
      assert.deepInclude(again.next[0], rest)
      assert.deepInclude(again.next[0].metrics, metrics)
      assert.deepStrictEqual(again.next[1], saved.next[1])
      assert.deepStrictEqual(again.tokens, saved.tokens)
    } finally {
      folder.remove()
    }
  })
})
