/**
 * A run that can be ended at any moment and started again: it goes on exactly where its newest checkpoint is. Ends in a report.
 *
 *     npx tsx examples/run.ts [directory]
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, Layer, Stream } from "effect"
import { Dataset, Datum, MetricSink, Report, Run, Schedule, Tokenizer } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const directory = process.argv[2] ?? "runs/example"
const { decode, encode } = Tokenizer.nano
const answers = { sky: "blue", grass: "green", snow: "white", coal: "black", blood: "red", gold: "yellow" }
const examples = Object.entries(answers).map(([what, colour]) =>
  Datum.fromCompletion(encode(`The colour of ${what} is`), encode(` ${colour}\n`))
)

const program = Effect.gen(function*() {
  const run = yield* Run.open(directory, {
    config: { baseModel: "tinkex/nano", rank: 8 },
    seed: 1,
    sinks: [MetricSink.csv(), MetricSink.tensorBoard()]
  })
  const events = yield* run.events
  yield* Effect.forkScoped(Stream.runForEach(events, (event) => {
    switch (event._tag) {
      case "Began":
        return Effect.log(`training begins at step ${event.step} of ${event.total}`)
      case "CheckpointSaved":
        return Effect.log(`saved ${event.updates} updates`)
      case "Step":
        return event.step % 10 === 9
          ? Effect.log(`step ${event.step}: nll ${event.row["train_mean_nll"]}`)
          : Effect.void
      default:
        return Effect.void
    }
  }))

  const batches = yield* Dataset.fromArray(examples, { batchSize: 3 })
  const total = 20 * batches.batchesPerEpoch
  const training = {
    batches,
    total,
    loss: "cross_entropy",
    adam: Schedule.linear(5e-3, total),
    checkpoint: { every: 10, keep: 2 }
  } as const
  const estimate = yield* run.estimate(training)
  yield* Effect.log(`${estimate.usage.trained} tokens; ${estimate.note}`)
  const { checkpoint, updates } = yield* run.train(training)
  yield* Effect.log(`${updates} updates are in ${checkpoint?.path}`)

  const fs = yield* FileSystem.FileSystem
  yield* fs.writeFileString(`${directory}/report.html`, yield* Report.html([directory], { decode }))
  yield* Effect.log(`${directory}/report.html shows it`)
}).pipe(Effect.scoped)

// checkpoints are kept where the next start finds them
const server = LocalTinkex.layer({ server: { dataDir: `${directory}/server` } })
program.pipe(Effect.provide(Layer.merge(server, NodeContext.layer)), NodeRuntime.runMain)
