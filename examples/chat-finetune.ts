/**
 * Fine-tune a chat model: conversations from a JSON Lines file, written as the model expects them, trained, and asked. With
 * another base model nothing else changes.
 *
 *     npx tsx examples/chat-finetune.ts
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Random } from "effect"
import { fileURLToPath } from "node:url"
import { ConsoleView, Conversation, Future, Message, Preview, Renderer, ServiceClient, TrainingLoop } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const baseModel = "tinkex/nano"
const path = fileURLToPath(new URL("chat.jsonl", import.meta.url))

const program = Effect.gen(function*() {
  const view = yield* ConsoleView.attachConsole(process.stderr)
  const renderer = yield* Renderer.forModel(baseModel)
  const data = yield* Conversation.fromJsonl(path, {
    onProgress: (progress) => view.print(Conversation.progressText("chat.jsonl", progress))
  }).pipe(Conversation.toData(renderer, { train: "all_assistant_messages", maxLength: 512 }))
  for (const datum of data.slice(0, 2)) {
    yield* view.print(Preview.toText(datum, renderer.tokenizer.decode, { color: process.stderr.isTTY }))
  }

  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({
    baseModel,
    rank: 16,
    userMetadata: Renderer.metadata(renderer) // so that whoever loads the weights asks them in the same form
  })
  for (let epoch = 1; epoch <= 30; epoch++) {
    const batch = Array.from(yield* Random.shuffle(data))
    const step = yield* TrainingLoop.trainStep(training, batch, { loss: "cross_entropy", adam: { learningRate: 5e-3 } })
    const { output } = yield* Future.await(step)
    if (epoch % 10 === 0) yield* view.print(`epoch ${epoch}: loss ${output.metrics["loss:sum"]?.toFixed(2)}`)
  }

  const sampler = yield* training.saveWeightsAndGetSamplingClient
  for (const question of ["Who are you?", "What is your name?", "Are you large?"]) {
    const messages = [Message.user(question)]
    const { sequences } = yield* sampler.sample({
      prompt: renderer.prompt(messages),
      stop: renderer.stop,
      maxTokens: 40,
      temperature: 0
    })
    for (const { tokens } of sequences) {
      const { ending, message } = renderer.parse(tokens, messages)
      yield* view.print(`${question} ${Message.text(message)} (${ending})`)
    }
  }
}).pipe(Effect.scoped)

program.pipe(
  Effect.provide(Layer.merge(LocalTinkex.layer(), NodeFileSystem.layer)),
  NodeRuntime.runMain
)
