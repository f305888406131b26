/**
 * The embedded server under load: 1,000 sample requests and 16 training runs at one time, over loopback HTTP, with the
 * real engine behind it. What counts is that nothing gets out of order or lost and that memory stays where it is.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as InProcessEngine from "../../src/engine/host/InProcessEngine.js"
import * as NodeServer from "../../src/server/NodeServer.js"
import * as AppliedLog from "../../src/server/runs/AppliedLog.js"
import { Server } from "../../src/server/Server.js"
import type { Row } from "./Row.js"

const samples = 1000
const runs = 16
const steps = 4

/** A token of its own for each run, so that a gradient in the wrong place shows in the losses. */
const datum = (run: number) => ({
  model_input: { chunks: [{ type: "encoded_text", tokens: [100 + run, 200 + run, 300 + run] }] },
  loss_fn_inputs: {
    target_tokens: { data: [200 + run, 300 + run, 400 + run], dtype: "int64", shape: [3] },
    weights: { data: [1, 1, 1], dtype: "float32", shape: [3] }
  }
})

const program = Effect.gen(function*() {
  const log = yield* AppliedLog.make
  const context = yield* Layer.build(
    NodeServer.layer().pipe(
      Layer.provide(InProcessEngine.layer()),
      Layer.provide(Layer.succeed(AppliedLog.AppliedLog, log.record))
    )
  )
  const { url } = Context.get(context, NodeServer.NodeServer)
  const call = async (path: string, body: object) => {
    const answer = await fetch(`${url}/api/v1/${path}`, { method: "POST", body: JSON.stringify(body) })
    if (answer.status >= 400 && answer.status !== 408) {
      throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    }
    return { status: answer.status, body: JSON.parse(await answer.text()) }
  }
  const result = async (submitted: Promise<{ readonly body: { readonly request_id: string } }>) => {
    const { body } = await submitted
    for (;;) {
      const answer = await call("retrieve_future", { request_id: body.request_id })
      if (answer.status === 200) return answer.body
    }
  }
  const train = async (session_id: string, run: number): Promise<ReadonlyArray<number>> => {
    const { body } = await call("create_model", {
      session_id,
      model_seq_id: run,
      base_model: "tinkex/nano",
      lora_config: { rank: 8, seed: 1 }
    })
    const submitted: Array<Promise<{ readonly metrics: Readonly<Record<string, number>> }>> = []
    for (let step = 0; step < steps; step++) {
      const pass = { data: [datum(run % runs)], loss_fn: "cross_entropy" }
      submitted.push(
        result(
          call("forward_backward", { model_id: body.model_id, seq_id: 2 * step + 1, forward_backward_input: pass })
        ),
        result(
          call("optim_step", { model_id: body.model_id, seq_id: 2 * step + 2, adam_params: { learning_rate: 0.01 } })
        )
      )
    }
    const results = await Promise.all(submitted)
    return results.flatMap(({ metrics }) => metrics["loss:sum"] ?? [])
  }

  return yield* Effect.promise(async () => {
    const session_id = (await call("create_session", { sdk_version: "bench" })).body.session_id
    const sampler = await call("create_sampling_session", {
      session_id,
      sampling_session_seq_id: 0,
      base_model: "tinkex/nano"
    })
    const ask = (seq_id: number) =>
      result(call("asample", {
        sampling_session_id: sampler.body.sampling_session_id,
        seq_id,
        prompt: { chunks: [{ type: "encoded_text", tokens: [10 + seq_id % 100, 20, 30] }] },
        sampling_params: { max_tokens: 8, seed: seq_id % 100 }
      }))
    // alone first: what each must come to, to the last bit, whatever goes on beside it
    const alone = (await ask(100_000)).sequences
    const lossesAlone: Array<ReadonlyArray<number>> = []
    for (let run = 0; run < runs; run++) lossesAlone.push(await train(session_id, runs + run))
    const before = process.memoryUsage().rss
    const started = performance.now()
    const [answers, losses] = await Promise.all([
      Promise.all(Array.from({ length: samples }, (_, i) => ask(i))),
      Promise.all(Array.from({ length: runs }, (_, i) => train(session_id, i)))
    ])
    const seconds = (performance.now() - started) / 1000
    const grown = (process.memoryUsage().rss - before) / 2 ** 20
    const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)
    let wrong = answers.filter(({ sequences }, i) => i % 100 === 0 && !same(sequences, alone)).length
    wrong += losses.filter((of, run) => !same(of, lossesAlone[run])).length
    const applied = await Effect.runPromise(log.entries)
    const seen = new Map<string, number>()
    for (const { modelId, seqId } of applied) {
      if (seqId !== (seen.get(modelId) ?? -1) + 1) wrong++
      seen.set(modelId, seqId)
    }
    if (applied.length !== 2 * runs * (2 * steps + 1)) wrong++
    const { pendingFutures } = await Effect.runPromise(Context.get(context, Server).stats)
    const rows: ReadonlyArray<Row> = [
      {
        name: `server: ${samples} samples and ${runs} runs at once, out of order, lost or mixed up`,
        value: wrong + pendingFutures,
        unit: "",
        target: 0,
        better: "lower"
      },
      {
        name: "server: sample requests beside training",
        value: samples / seconds,
        unit: "1/s",
        target: null,
        better: "higher"
      },
      {
        name: "server: training operations beside sampling",
        value: 2 * steps * runs / seconds,
        unit: "1/s",
        target: null,
        better: "higher"
      },
      { name: "server: memory grown meanwhile", value: grown, unit: "MiB", target: 512, better: "lower" }
    ]
    return rows
  })
}).pipe(Effect.scoped)

/** @internal */
export const rows = (): Promise<ReadonlyArray<Row>> => Effect.runPromise(program)
