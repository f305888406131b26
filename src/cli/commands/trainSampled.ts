/**
 * Trainings on what models say: by rewards, and after a teacher.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Message from "../../chat/Message.js"
import * as ChatModel from "../../client/ChatModel.js"
import * as ServiceClient from "../../client/ServiceClient.js"
import * as Datum from "../../protocol/Datum.js"
import { attempt, type InvalidInput } from "../../protocol/InvalidInput.js"
import * as ModelInput from "../../protocol/ModelInput.js"
import * as TensorData from "../../protocol/TensorData.js"
import * as Distillation from "../../recipes/Distillation.js"
import * as Environment from "../../recipes/Environment.js"
import * as Reinforcement from "../../recipes/Reinforcement.js"
import type * as Cost from "../../runs/Cost.js"
import { Failed } from "../terminal/failed.js"
import type { Distill, Rl } from "./trainConfig.js"
import { asked, checkpoint, conversations, type Planned, rendererOf, taught } from "./trainPlans.js"

/** The last number in a text. */
const numberIn = (text: string): number | undefined => {
  const found = text.replaceAll(",", "").match(/-?\d+(?:\.\d+)?/g)?.at(-1)
  return found === undefined ? undefined : Number(found)
}

const graders: Readonly<Record<Rl["grade"], (answer: string, wanted: string) => boolean>> = {
  exact: (answer, wanted) => answer.trim() === wanted.trim(),
  contains: (answer, wanted) => answer.includes(wanted.trim()),
  number: (answer, wanted) => numberIn(answer) !== undefined && numberIn(answer) === numberIn(wanted)
}

/** As many as a round takes, one after the other and from the beginning again. */
const turn = <A>(items: ReadonlyArray<A>, round: number, count: number): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, i) => items[(round * count + i) % items.length]!) // within the list

/** The most that is drawn of prompts of a mean length; what was read and said is trained on. */
const drawn = (prompts: ReadonlyArray<number>, count: number, maxTokens: number): Cost.Usage => {
  const mean = prompts.reduce((sum, length) => sum + length, 0) / prompts.length
  const [read, sampled] = [Math.round(count * mean), count * maxTokens]
  return { sampled, prefillCached: 0, prefillUncached: read, trained: read + sampled }
}

export const rl = (config: Rl, at: (file: string) => string): Planned =>
  Effect.gen(function*() {
    const renderer = yield* rendererOf(config)
    const service = yield* ServiceClient.ServiceClient
    const problems = yield* conversations(at(config.problems))
    const tasks = yield* Effect.forEach(problems, ({ messages, source = config.problems }) =>
      Effect.gen(function*() {
        const answer = messages.at(-1)
        if (answer?.role !== "assistant") {
          return yield* new Failed({
            message: `${source}: expected an assistant's message at the end, the answer that is wanted`
          })
        }
        const question = messages.slice(0, -1)
        return { question, wanted: Message.text(answer), prompt: yield* attempt(() => renderer.prompt(question)) }
      }))
    const right = graders[config.grade]
    const count = config.rounds * config.groupsPerRound * config.groupSize
    const options = (reference: Reinforcement.Options["reference"]): Reinforcement.Options<InvalidInput> => ({
      rounds: config.rounds,
      groups: (round) =>
        Effect.succeed(
          turn(tasks, round, config.groupsPerRound).map(({ question, wanted }) =>
            Environment.group(config.groupSize, () =>
              Environment.problem({
                renderer,
                messages: question,
                grade: (answer) => right(Message.text(answer), wanted) ? 1 : 0
              }))
          )
        ),
      limits: { maxTurnTokens: config.maxTokens },
      temperature: config.temperature,
      timing: { _tag: "onPolicy", loss: config.loss },
      advantage: config.advantage,
      learningRate: config.learningRate,
      reference,
      checkpoint: checkpoint(config)
    })
    return {
      examples: tasks.length,
      steps: config.rounds,
      usage: drawn(tasks.map(({ prompt }) => ModelInput.length(prompt)), count, config.maxTokens),
      first: `${renderer.tokenizer.decode(ModelInput.tokens(tasks[0]!.prompt))}[${tasks[0]!.wanted}]`, // not empty
      figure: "env/all/reward/total",
      train: (run) =>
        Effect.scoped(Effect.gen(function*() {
          const { kl } = config
          const sampler = kl === undefined
            ? undefined
            : yield* service.createSamplingClient({ baseModel: config.model })
          return yield* Reinforcement.train(
            run,
            options(kl === undefined || sampler === undefined ? undefined : { sampler, penalty: { coefficient: kl } })
          )
        }))
    }
  })

const Kept = Schema.Array(Schema.Struct({
  input: Schema.Array(Schema.Int),
  targets: Schema.Array(Schema.Int),
  weights: Schema.Array(Schema.Number)
}))

const keep = ({ lossFnInputs, modelInput }: Datum.Datum): typeof Kept.Type[number] => ({
  input: Array.from(ModelInput.tokens(modelInput)),
  targets: Array.from(TensorData.toArray(lossFnInputs["target_tokens"]!), Number), // examples have both
  weights: Array.from(lossFnInputs["weights"]?.data ?? [], Number)
})

export const distill = (config: Distill, at: (file: string) => string): Planned =>
  Effect.gen(function*() {
    const renderer = yield* rendererOf(config)
    const service = yield* ServiceClient.ServiceClient
    const questions = (yield* conversations(at(config.prompts))).map(asked)
    const prompts = yield* Effect.forEach(questions, (messages) => attempt(() => renderer.prompt(messages)))
    const teacher = service.createSamplingClient(
      config.teacher.startsWith("tinker://") ? { modelPath: config.teacher } : { baseModel: config.teacher }
    )
    const sizes = prompts.map(ModelInput.length)
    const first = renderer.tokenizer.decode(ModelInput.tokens(prompts[0]!)) // not empty
    if (config.kind === "onPolicy") {
      const count = config.rounds * config.promptsPerRound * config.samples
      const { prefillUncached, sampled, trained } = drawn(sizes, count, config.maxTokens)
      return {
        examples: prompts.length,
        steps: config.rounds,
        // the teacher reads it all
        usage: { prefillCached: 0, prefillUncached: prefillUncached + trained, sampled, trained },
        first,
        figure: "teacher_kl",
        train: (run) =>
          Effect.scoped(Effect.flatMap(teacher, (sampler) =>
            Distillation.onPolicy(run, {
              teachers: [{
                sampler,
                prompts: (round) =>
                  turn(prompts, round, config.promptsPerRound).map((prompt) => ({
                    tokens: ModelInput.tokens(prompt),
                    stop: renderer.stop
                  }))
              }],
              rounds: config.rounds,
              samples: config.samples,
              coefficient: config.coefficient,
              temperature: config.temperature,
              limits: { maxTurnTokens: config.maxTokens },
              learningRate: config.learningRate,
              checkpoint: checkpoint(config)
            })))
      }
    }
    const { epochs, samples } = config
    const told = drawn(sizes, questions.length * samples, config.maxTokens)
    const batch = Math.min(config.batchSize, questions.length * samples)
    return {
      examples: questions.length,
      steps: epochs * Math.floor(questions.length * samples / batch),
      usage: { ...told, trained: told.trained * epochs },
      first,
      figure: "train_mean_nll",
      train: (run) =>
        Effect.gen(function*() {
          // the teacher is asked once in the life of the run
          const kept = yield* run.once(
            "distill/answers",
            Kept,
            Effect.scoped(Effect.flatMap(teacher, (sampler) =>
              Effect.map(
                Distillation.fromPrompt(ChatModel.make(sampler, renderer), renderer, {
                  system: config.system,
                  questions,
                  samples,
                  maxTokens: config.maxTokens,
                  temperature: config.temperature,
                  seed: config.seed ?? 0
                }),
                (data) => data.map(keep)
              )))
          )
          if (kept.length === 0) {
            return yield* new Failed({ message: "the teacher ended none of its answers: raise maxTokens" })
          }
          const plan = yield* taught(
            config,
            renderer,
            kept.map(({ input, targets, weights }) =>
              Datum.make({
                modelInput: [...input],
                lossFnInputs: { target_tokens: [...targets], weights: [...weights] }
              })
            )
          )
          return yield* plan.train(run)
        })
    }
  })
