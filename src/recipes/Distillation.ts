/**
 * Learning from other models: from what they make of the student's own words, from their distributions, or from what they say
 * under a prompt that the student will not see.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Conversation from "../chat/Conversation.js"
import * as Message from "../chat/Message.js"
import type { Renderer } from "../chat/Renderer.js"
import type * as ChatModel from "../client/ChatModel.js"
import type * as SamplingClient from "../client/SamplingClient.js"
import type * as Datum from "../protocol/Datum.js"
import { attempt, InvalidInput } from "../protocol/InvalidInput.js"
import * as ModelInput from "../protocol/ModelInput.js"
import { topkRows } from "../protocol/Sampling.js"
import * as TensorData from "../protocol/TensorData.js"
import type { CheckpointPolicy } from "../runs/CheckpointPolicy.js"
import * as Rollouts from "../runs/Rollouts.js"
import type * as Run from "../runs/Run.js"
import * as Schedule from "../runs/Schedule.js"
import type { TinkexError } from "../TinkexError.js"
import * as Environment from "./Environment.js"
import * as Episode from "./Episode.js"
import * as Reinforcement from "./Reinforcement.js"
import { statistics } from "./rolloutStatistics.js"
import { orStill } from "./still.js"

/**
 * A model to learn from, and the prompts on which it is asked. It has to have the student's tokens.
 *
 * @since 0.2.0
 * @category models
 */
export interface Teacher {
  readonly sampler: SamplingClient.Client
  /** What the student goes on from. A pure function of the round. */
  readonly prompts: (round: number) => ReadonlyArray<Environment.Observation>
  /** Names the teacher in figures: `teacher_kl/<name>`. */
  readonly name?: string | undefined
}

/**
 * How to learn from the student's own words.
 *
 * @since 0.2.0
 * @category models
 */
export interface OnPolicyOptions extends Pick<Episode.Options, "temperature" | "limits"> {
  readonly teachers: ReadonlyArray<Teacher>
  readonly rounds: number
  /** Samples of each prompt; 4 unless given. */
  readonly samples?: number | undefined
  /** How strongly a token is moved by its distance from the teacher; 1 unless given. */
  readonly coefficient?: number | undefined
  /** Of the distances that follow; off unless above 0. */
  readonly discount?: number | undefined
  /** 4e-4 unless given. */
  readonly learningRate?: number | Schedule.Schedule | undefined
  readonly checkpoint?: CheckpointPolicy | undefined
}

/** An episode of one action that earns nothing: what moves the student is the teacher alone. */
const unrewarded = (observation: Environment.Observation): Environment.Environment => ({
  observe: Effect.succeed(observation),
  step: () => Effect.succeed({ reward: 0, next: undefined })
})

/** Mean distance of the student from the teacher, over the tokens of a group's actions: an estimate of KL(student ‖ teacher). */
const distance = (groups: Reinforcement.Sample["groups"]): { readonly sum: number; readonly count: number } => {
  let [sum, count] = [0, 0]
  for (const { trajectories } of groups) {
    for (const { transitions } of trajectories) {
      for (const { logprobs, reference = [] } of transitions) {
        logprobs.forEach((q, i) => {
          sum += q - (reference[i] ?? q)
          count++
        })
      }
    }
  }
  return { sum, count }
}

/**
 * On-policy distillation: the student samples, the teacher scores every token, and each token is made likelier or less likely by
 * how the teacher's log-probability compares with the student's: the advantage is `-coefficient · (student - teacher)`. `teacher_kl`
 * in the rows of steps is the mean distance.
 *
 * @since 0.2.0
 * @category training
 */
export const onPolicy = (
  run: Run.Run,
  options: OnPolicyOptions
): Effect.Effect<Run.Summary, Run.TrainError> => {
  const { coefficient = 1, discount = 0, samples = 4, teachers } = options
  const nameOf = (index: number): string => teachers[index]?.name ?? `dataset_${index}`
  const round = Rollouts.make({
    schema: Reinforcement.Sample,
    sample: ({ index, sampler, seed }) =>
      Effect.map(
        Effect.forEach(
          teachers,
          (teacher, t) =>
            Effect.forEach(teacher.prompts(index), (prompt, p) =>
              Effect.gen(function*() {
                const trajectories = yield* Episode.group(
                  sampler,
                  Environment.group(samples, () => unrewarded(prompt)),
                  { ...options, strategy: Episode.failFast, seed: Episode.mix(seed, t, p) }
                ).pipe(Effect.catchTag("GroupFailed", (failed) => Effect.die(failed))) // which failing fast does not give
                const group = { tags: [nameOf(t)], rewards: trajectories.map(() => 0), trajectories }
                return yield* Reinforcement.withReference(teacher.sampler, group)
              }), { concurrency: "unbounded" }),
          { concurrency: "unbounded" }
        ),
        (groups) => ({ groups: groups.flat(), failed: 0 })
      ),
    data: (sample) =>
      Effect.succeed(
        orStill(Reinforcement.dataOf(sample, { penalty: { coefficient, discount, centred: false } }), sample.groups)
      ),
    usage: Reinforcement.usageOf,
    metrics: (sample) => {
      const whole = distance(sample.groups)
      const each = teachers.map((_, t) => {
        const own = distance(sample.groups.filter(({ tags }) => tags.includes(nameOf(t))))
        return [`teacher_kl/${nameOf(t)}`, own.count === 0 ? 0 : own.sum / own.count] as const
      })
      return {
        ...statistics(sample),
        teacher_kl: whole.count === 0 ? 0 : whole.sum / whole.count,
        ...Object.fromEntries(each)
      }
    }
  })
  const rate = options.learningRate ?? 4e-4
  return run.train<TinkexError, never>({
    batches: round,
    loss: "importance_sampling",
    adam: { learningRate: typeof rate === "number" ? Schedule.constant(rate) : rate, eps: 1e-8 },
    total: options.rounds,
    checkpoint: options.checkpoint ?? { every: 20, keep: 3 }
  })
}

/**
 * Data with the teacher's likeliest tokens as targets: at each position that counted, `k` of them, weighted by their probability
 * among these `k`. Trained on with `cross_entropy`, they give the gradient of KL(teacher ‖ student) over them.
 *
 * @since 0.2.0
 * @category data
 */
export const topK = (
  teacher: SamplingClient.Client,
  data: ReadonlyArray<Datum.Datum>,
  options: { readonly k?: number | undefined; readonly concurrency?: number | undefined } = {}
): Effect.Effect<ReadonlyArray<Datum.Datum>, TinkexError | InvalidInput> => {
  const k = options.k ?? 20
  return Effect.forEach(data, (datum, index) =>
    Effect.gen(function*() {
      const input = yield* attempt(() => ModelInput.tokens(datum.modelInput))
      const { target_tokens: given, weights } = datum.lossFnInputs
      if (given === undefined || weights === undefined || given.shape.length !== 1) {
        return yield* new InvalidInput({
          field: "lossFnInputs",
          index,
          expected: "target_tokens and weights of one dimension",
          actual: "others"
        })
      }
      const targets = TensorData.toArray(given).map(Number)
      const { topkPromptLogprobs } = yield* teacher.sample({
        prompt: [...input, targets.at(-1) ?? 0],
        maxTokens: 1,
        topkPromptLogprobs: k,
        promptLogprobs: true
      })
      // row i + 1 of the sequence is what the teacher expects after input token i
      const rows = topkPromptLogprobs === undefined ? [] : topkRows(topkPromptLogprobs).slice(1)
      const [tokens, shares] = [new Int32Array(targets.length * k), new Float32Array(targets.length * k)]
      targets.forEach((_, i) => {
        const row = rows[i] ?? []
        const highest = row[0]?.[1] ?? 0
        const total = row.reduce((sum, [, logprob]) => sum + Math.exp(logprob - highest), 0)
        const counts = Number(weights.data[i]) > 0
        for (let j = 0; j < k; j++) {
          const [token, logprob] = row[j] ?? [row[0]?.[0] ?? 0, -Infinity]
          tokens[i * k + j] = token
          shares[i * k + j] = counts && total > 0 ? Math.exp(logprob - highest) / total : 0
        }
      })
      return {
        modelInput: datum.modelInput,
        lossFnInputs: {
          target_tokens: { dtype: "int64", data: tokens, shape: [targets.length, k] },
          weights: { dtype: "float32", data: shares, shape: [targets.length, k] }
        }
      } satisfies Datum.Datum
    }), { concurrency: options.concurrency ?? 64 })
}

/**
 * Prompt distillation: what a model answers under a long system prompt, as data of a conversation without it. A student that
 * learns them behaves as if it had been told.
 *
 * @since 0.2.0
 * @category data
 */
export const fromPrompt = (
  teacher: ChatModel.ChatModel,
  student: Renderer,
  options: {
    /** What the teacher is told and the student will know by itself. */
    readonly system: string
    /** What both are asked. */
    readonly questions: ReadonlyArray<ReadonlyArray<Message.Message>>
    /** Answers to each question; 1 unless given. */
    readonly samples?: number | undefined
    readonly maxTokens?: number | undefined
    readonly temperature?: number | undefined
    readonly seed?: number | undefined
    readonly concurrency?: number | undefined
  }
): Effect.Effect<ReadonlyArray<Datum.Datum>, TinkexError | InvalidInput> =>
  Effect.map(
    Effect.forEach(options.questions, (question, q) =>
      Effect.gen(function*() {
        const { choices } = yield* teacher.generate({
          messages: [Message.system(options.system), ...question],
          numSamples: options.samples,
          maxTokens: options.maxTokens ?? 256,
          temperature: options.temperature,
          seed: options.seed === undefined ? undefined : Episode.mix(options.seed, q)
        })
        // an answer that was cut off or has no form would be learnt as it is
        const good = choices.filter(({ finishReason, malformed }) => finishReason === "stop" && malformed === undefined)
        return yield* Effect.forEach(good, ({ message }) =>
          Conversation.data(student, { messages: [...question, Message.assistant(Message.text(message))] }, {
            train: "last_assistant_message"
          }))
      }), { concurrency: options.concurrency ?? 16 }),
    (data) => data.flat(2)
  )
