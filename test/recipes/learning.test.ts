/** What recipes are for: models that have learnt, with fixed seeds. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Layer, type Scope, Stream } from "effect"
import * as Message from "../../src/chat/Message.js"
import * as Renderer from "../../src/chat/Renderer.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as Distillation from "../../src/recipes/Distillation.js"
import * as Environment from "../../src/recipes/Environment.js"
import * as Preference from "../../src/recipes/Preference.js"
import * as Reinforcement from "../../src/recipes/Reinforcement.js"
import * as Supervised from "../../src/recipes/Supervised.js"
import * as Dataset from "../../src/runs/Dataset.js"
import * as Run from "../../src/runs/Run.js"
import * as RunDirectory from "../../src/runs/RunDirectory.js"
import { TestServer } from "../../src/testing/index.js"
import * as Tokenizer from "../../src/tokenizer/Tokenizer.js"

const layer = Layer.merge(TestServer.layer({ metrics: false }), NodeContext.layer)
type Services = Layer.Layer.Success<typeof layer>

const { encode } = Tokenizer.nano
const open = (directory: string, rank = 16) =>
  Run.open(directory, { config: { baseModel: "tinkex/nano", rank }, seed: 1 })

const rows = (directory: string) =>
  Effect.map(Stream.runCollect(RunDirectory.metrics(directory)), Chunk.toReadonlyArray)
const column = (directory: string, name: string) =>
  Effect.map(rows(directory), (all) => all.flatMap((row) => typeof row[name] === "number" ? [row[name]] : []))
const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length

const test = (name: string, body: (directory: string) => Effect.Effect<void, unknown, Services | Scope.Scope>) =>
  it.scopedLive(name, () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      yield* body(`${yield* fs.makeTempDirectoryScoped()}/run`)
    }).pipe(Effect.provide(layer)), 240_000)

describe("recipes", () => {
  test("supervised: the loss of held-out examples of a kind falls by half", (directory) =>
    Effect.gen(function*() {
      const words = ["red", "blue", "green", "black", "white", "grey", "pink", "brown"]
      const things = ["cat", "dog", "hat", "cup", "box", "car", "pen", "key"]
      const all = words.flatMap((word) =>
        things.map((thing) => Datum.fromCompletion(encode(`${thing} ${word} ->`), encode(` a ${word} ${thing}.`)))
      )
      const heldOut = all.filter((_, i) => i % 8 === 3)
      const data = yield* Dataset.fromArray(all.filter((_, i) => i % 8 !== 3), { batchSize: 14 })
      const run = yield* open(directory)
      yield* Supervised.train(run, {
        data,
        heldOut,
        epochs: 6,
        evaluateEvery: 23,
        tokenizer: Tokenizer.nano,
        learningRate: 3e-3
      })
      const [before = 0, after = 0] = yield* column(directory, "test/nll")
      assert.isBelow(after, before / 2)
      const bits = yield* column(directory, "test/bpb")
      assert.isBelow(bits[1]!, bits[0]! / 2)
    }))

  test("reinforcement: a reward that a third of the samples earn is earned by nearly all", (directory) =>
    Effect.gen(function*() {
      const prompts = ["It was a", "She said that the", "He went to the", "They had never seen such"]
      const vowel = /^ ?[aeiou]/
      const run = yield* open(directory)
      yield* Reinforcement.train(run, {
        rounds: 30,
        learningRate: 1e-3,
        limits: { maxTurnTokens: 3 },
        groups: () =>
          Effect.succeed(prompts.map((prompt) =>
            Environment.group(32, () => ({
              observe: Effect.succeed({ tokens: encode(prompt), stop: [] }),
              step: ({ tokens }) =>
                Effect.succeed({ reward: vowel.test(Tokenizer.nano.decode(tokens)) ? 1 : 0, next: undefined })
            }), { tags: ["vowels"] })
          ))
      })
      const rewards = yield* column(directory, "env/all/reward/total")
      assert.isBelow(rewards[0]!, 0.35)
      assert.isAbove(mean(rewards.slice(-3)), 0.9)
      const tagged = yield* column(directory, "env/vowels/reward/total")
      assert.deepStrictEqual(tagged, rewards)
    }))

  test("preference: after DPO the better answer is the likelier one, and the reference has not moved", (directory) =>
    Effect.gen(function*() {
      const names = ["the cat", "the dog", "a man", "a girl", "the king", "my friend", "the bird", "our teacher"]
      const pairs = names.map((name) => ({
        chosen: Datum.fromCompletion(encode(`${name} was`), encode(" happy")),
        rejected: Datum.fromCompletion(encode(`${name} was`), encode(" angry"))
      }))
      const run = yield* open(directory)
      const data = yield* Dataset.fromArray(pairs, { batchSize: 4 })
      yield* Preference.dpo(run, { pairs: data, epochs: 10, learningRate: 1e-3 })
      const [accuracy, loss] = [yield* column(directory, "accuracy"), yield* column(directory, "dpo_loss")]
      assert.closeTo(loss[0]!, Math.LN2, 1e-3)
      assert.isAbove(mean(accuracy.slice(-4)), 0.95)
      assert.isBelow(loss.at(-1)!, 0.5)
    }))

  test("distillation: the distance from the teacher falls by 60 percent", (directory) =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      // a teacher that has learnt to answer in one way
      const lessons = yield* Dataset.fromArray(
        ["sun", "moon", "sea", "sky"].map((word) =>
          Datum.fromCompletion(encode(`${word}:`), encode(" far away and bright"))
        ),
        { batchSize: 4 }
      )
      const teaching = yield* open(`${directory}-teacher`)
      yield* Supervised.train(teaching, { data: lessons, epochs: 30, learningRate: 3e-3 })
      const [last] = (yield* teaching.checkpoints).slice(-1)
      const teacher = yield* service.createSamplingClient({ modelPath: last!.sampler! })
      const run = yield* open(directory)
      yield* Distillation.onPolicy(run, {
        rounds: 30,
        samples: 12,
        learningRate: 2e-3,
        limits: { maxTurnTokens: 8 },
        teachers: [{
          sampler: teacher,
          name: "bright",
          prompts: () => ["sun", "moon", "sea", "sky"].map((word) => ({ tokens: encode(`${word}:`), stop: [] }))
        }]
      })
      const distances = yield* column(directory, "teacher_kl")
      assert.isBelow(mean(distances.slice(-3)), 0.4 * distances[0]!)
      assert.deepStrictEqual(yield* column(directory, "teacher_kl/bright"), distances)
    }))

  test("prompt distillation: what a system prompt brings about is done without it, on questions never taught", (directory) =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      const renderer = yield* Renderer.make("nano", Tokenizer.nano)
      // nano does not follow instructions: a stand-in for a teacher that does, with answers that the prompt asks for
      const questions = ["cat", "dog", "hat", "cup", "box", "car", "pen", "key", "bed", "map"].map((
        word
      ) => [Message.user(word)])
      const teacher = {
        generate: ({ messages }: { readonly messages: ReadonlyArray<Message.Message> }) => {
          assert.strictEqual(Message.text(messages[0]!), "Answer every word with yes and an exclamation mark.")
          const message = Message.assistant("yes!")
          return Effect.succeed({ choices: [{ message, finishReason: "stop", malformed: undefined }] })
        }
      } as never
      const data = yield* Distillation.fromPrompt(teacher, renderer, {
        system: "Answer every word with yes and an exclamation mark.",
        questions: questions.slice(0, 7)
      })
      assert.lengthOf(data, 7)
      const run = yield* open(directory)
      yield* Supervised.train(run, {
        data: yield* Dataset.fromArray(data, { batchSize: 7 }),
        epochs: 25,
        learningRate: 3e-3
      })
      const [last] = (yield* run.checkpoints).slice(-1)
      const sampler = yield* service.createSamplingClient({ modelPath: last!.sampler! })
      for (const question of questions.slice(7)) {
        const { sequences } = yield* sampler.sample({
          prompt: renderer.prompt(question),
          maxTokens: 8,
          temperature: 0,
          stop: renderer.stop
        })
        assert.strictEqual(Message.text(renderer.parse(sequences[0]!.tokens, question).message), "yes!")
      }
    }))
})
