/**
 * Supervised fine-tuning in a page: conversations to data, a run that can be cut off, and what the model says before and after.
 *
 *     npx tsx examples/sft.ts [directory]
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as FileSystem from "@effect/platform/FileSystem"
import { Effect, Layer } from "effect"
import { ChatModel, Conversation, Dataset, Message, Renderer, Run, ServiceClient, Supervised } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const baseModel = "tinkex/nano"
const words = ["cat", "dog", "hat", "cup", "box", "car", "pen", "key", "bed", "map", "sun", "sea"]
const lesson = (word: string): Conversation.Conversation => ({
  messages: [Message.user(`Greet a ${word}`), Message.assistant("Hello, friend!")]
})

const program = Effect.gen(function*() {
  const directory = process.argv[2] ??
    (yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped()))
  const service = yield* ServiceClient.ServiceClient
  const renderer = yield* Renderer.forModel(baseModel)
  const data = (some: ReadonlyArray<string>) =>
    Effect.map(Effect.forEach(some, (word) => Conversation.data(renderer, lesson(word))), (all) => all.flat())

  const answer = (options: { readonly baseModel: string } | { readonly modelPath: string }) =>
    Effect.scoped(Effect.gen(function*() {
      const chat = ChatModel.make(yield* service.createSamplingClient(options), renderer)
      const { choices } = yield* chat.generate({
        messages: [Message.user("Greet a map")],
        maxTokens: 12,
        temperature: 0
      })
      return choices.map(({ message }) => Message.text(message)).join()
    }))
  yield* Effect.log(`before: ${yield* answer({ baseModel })}`)

  const run = yield* Run.open(directory, { config: { baseModel, rank: 16, renderer: renderer.name }, seed: 1 })
  yield* Supervised.train(run, {
    data: yield* Dataset.fromArray(yield* data(words.slice(0, 9)), { batchSize: 9 }),
    heldOut: yield* data(words.slice(9)),
    evaluateEvery: 10,
    epochs: 40,
    learningRate: 3e-3
  })
  const [last] = (yield* run.checkpoints).slice(-1)
  yield* Effect.log(`after: ${yield* answer({ modelPath: last?.sampler ?? "" })}`)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(Layer.merge(LocalTinkex.layer(), NodeContext.layer)), NodeRuntime.runMain)
