/**
 * Preference learning in a page: of two answers the better one becomes likelier than under the weights at the beginning.
 *
 *     npx tsx examples/dpo.ts [directory]
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, Layer, Stream } from "effect"
import { Dataset, Message, Preference, Renderer, Run } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const baseModel = "tinkex/nano"
const subjects = ["the cat", "the dog", "a man", "a girl", "the king", "my friend", "the bird", "our teacher"]

const program = Effect.gen(function*() {
  const directory = process.argv[2] ??
    (yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped()))
  const renderer = yield* Renderer.forModel(baseModel)
  const pairs = yield* Effect.forEach(subjects, (subject) =>
    Preference.toPair(renderer, {
      prompt: [Message.user(`How is ${subject}?`)],
      chosen: [Message.assistant("happy")],
      rejected: [Message.assistant("angry")]
    }))
  const run = yield* Run.open(directory, { config: { baseModel, rank: 16, renderer: renderer.name }, seed: 1 })
  const events = yield* run.events
  yield* Effect.forkScoped(Stream.runForEach(events, (event) =>
    event._tag === "Step" && event.step % 5 === 4
      ? Effect.log(
        `step ${event.step + 1}: loss ${Number(event.row["dpo_loss"]).toFixed(3)}, accuracy ${event.row["accuracy"]}`
      )
      : Effect.void))
  const data = yield* Dataset.fromArray(pairs, { batchSize: 4 })
  const { updates } = yield* Preference.dpo(run, { pairs: data, epochs: 10, learningRate: 1e-3 })
  yield* Effect.log(`${updates} updates are done`)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(Layer.merge(LocalTinkex.layer(), NodeContext.layer)), NodeRuntime.runMain)
