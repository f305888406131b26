/** What exactness costs: a run against the bare loop on the built-in model; and the report of a long run. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Effect, Layer, Stream } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Dataset, Datum, Report, Run, ServiceClient, TrainingLoop } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"
import type { Row } from "./Row.js"

const steps = 30
const examples = Array.from({ length: 32 }, (_, i) =>
  Datum.fromCompletion(
    Array.from({ length: 24 }, (_, k) => (i + k) % 200),
    Array.from({ length: 24 }, (_, k) => (7 * i + k) % 200)
  ))
const adam = { learningRate: 1e-4 }

const seconds = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.timed(effect),
    ([duration]) => Number(duration.value._tag === "Nanos" ? duration.value.nanos : 0n) / 1e9
  )

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN

const overhead = (folder: string) =>
  Effect.gen(function*() {
    const service = yield* ServiceClient.ServiceClient
    const batches = yield* Dataset.fromArray(examples, { batchSize: 8 })
    const client = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
    const bare = Stream.range(0, steps - 1).pipe(
      Stream.mapEffect((step) => batches.batch(step)),
      TrainingLoop.run(client, { loss: "cross_entropy", adam }),
      Stream.runDrain
    )
    // restored once, outside of the time: the same run, longer every round
    const run = yield* Run.open(join(folder, "run"), { config: { baseModel: "tinkex/nano", rank: 8 } })
    let total = 0
    const exact = Effect.suspend(() =>
      run.train({ batches, total: total += steps, loss: "cross_entropy", adam, checkpoint: { final: false } })
    )
    yield* bare
    yield* exact
    const ratios: Array<number> = []
    for (let round = 0; round < 5; round++) {
      // either first, in turn: what else the machine does falls on both
      const [a, b] = round % 2 === 0
        ? [yield* seconds(bare), yield* seconds(exact)]
        : yield* Effect.map(Effect.all([seconds(exact), seconds(bare)]), ([b, a]) => [a, b] as const)
      ratios.push(b / a)
    }
    return 100 * (median(ratios) - 1)
  }).pipe(Effect.scoped, Effect.provide(Layer.merge(LocalTinkex.layer(), NodeContext.layer)))

const long = 100_000

const report = (folder: string) =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const spans: Array<string> = []
    for (let step = 0; step < long; step++) {
      lines.push(JSON.stringify({
        step,
        progress: (step + 1) / long,
        learning_rate: 1e-4 * (1 - step / long),
        num_tokens: 4096,
        train_mean_nll: 4 * Math.exp(-step / 2e4) + ((step * 7919) % 1000) / 5000,
        "unclipped_grad_l2:mean": 1 + ((step * 104_729) % 1000) / 1000,
        "tokens/trained": 4096,
        "tokens/cumulative/trained": 4096 * (step + 1),
        "cost/cumulative_usd": 0.0018 * (step + 1),
        "time/step": 0.5 + (step % 7) / 100,
        "time/wait": 0.4 + (step % 5) / 100
      }))
      const span = { name: "wait", duration: 0.4, wall_start: 0, wall_end: 0.4 }
      spans.push(JSON.stringify({ step, start: 1.7e9 + step / 2, spans: [span] }))
    }
    writeFileSync(join(folder, "metrics.jsonl"), `${lines.join("\n")}\n`)
    writeFileSync(join(folder, "timing_spans.jsonl"), `${spans.join("\n")}\n`)
    const made = yield* Effect.timed(Report.html([folder]))
    return { bytes: made[1].length, seconds: yield* seconds(Report.html([folder])) }
  }).pipe(Effect.provide(NodeContext.layer))

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const folder = mkdtempSync(join(tmpdir(), "tinkex-bench-"))
  try {
    const over = await Effect.runPromise(overhead(folder))
    const { bytes, seconds } = await Effect.runPromise(report(folder))
    return [
      {
        name: "run.train over TrainingLoop.run, tinkex/nano",
        value: over,
        unit: "% longer",
        target: 3,
        better: "lower"
      },
      { name: "report of 100,000 steps", value: bytes / 1e6, unit: "MB", target: 3, better: "lower" },
      { name: "report of 100,000 steps, made in", value: seconds, unit: "s", target: null, better: "lower" }
    ]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
