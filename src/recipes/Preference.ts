/**
 * Preference learning: of two answers the better one becomes likelier, measured against frozen weights (DPO), and models that
 * judge which of two answers is better.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Conversation from "../chat/Conversation.js"
import * as Message from "../chat/Message.js"
import type { Renderer } from "../chat/Renderer.js"
import * as Future from "../client/Future.js"
import type * as SamplingClient from "../client/SamplingClient.js"
import type * as Datum from "../protocol/Datum.js"
import { attempt, InvalidInput } from "../protocol/InvalidInput.js"
import * as ModelInput from "../protocol/ModelInput.js"
import * as TensorData from "../protocol/TensorData.js"
import type { CheckpointPolicy } from "../runs/CheckpointPolicy.js"
import type * as Dataset from "../runs/Dataset.js"
import type * as Run from "../runs/Run.js"
import * as Schedule from "../runs/Schedule.js"
import type { TinkexError } from "../TinkexError.js"
import * as CustomLoss from "../training/CustomLoss.js"

/**
 * An answer that was preferred and one that was not, as data with weights of 0 and 1.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pair {
  readonly chosen: Datum.Datum
  readonly rejected: Datum.Datum
}

/**
 * A pair of conversations as data: of both only the last answer counts, each of its tokens the same.
 *
 * @since 0.2.0
 * @category data
 */
export const toPair = (
  renderer: Renderer,
  preference: Conversation.Preference,
  options: { readonly maxLength?: number | undefined } = {}
): Effect.Effect<Pair, InvalidInput> => {
  const one = (answer: ReadonlyArray<Message.Message>) =>
    Effect.flatMap(
      Conversation.data(renderer, { ...preference, messages: [...preference.prompt, ...answer] }, {
        train: "last_assistant_message",
        reduction: "none",
        maxLength: options.maxLength
      }),
      ([datum]) =>
        datum === undefined
          ? Effect.fail(new InvalidInput({ field: "answer", expected: "something to learn", actual: "nothing" }))
          : Effect.succeed(datum)
    )
  return Effect.map(
    Effect.zip(one(preference.chosen), one(preference.rejected)),
    ([chosen, rejected]) => ({ chosen, rejected })
  )
}

/**
 * How to learn from preferences.
 *
 * @since 0.2.0
 * @category models
 */
export interface DpoOptions<E = never, R = never> {
  readonly pairs: Dataset.Dataset<Pair, E, R>
  readonly epochs?: number | undefined
  /** How strongly the reference holds. 0.1 unless given, above 0. */
  readonly beta?: number | undefined
  /** 1e-5, falling to 0, unless given. */
  readonly learningRate?: number | Schedule.Schedule | undefined
  /**
   * Frozen weights that are the reference: a base model, or weights by their path. Those with which the run began unless given,
   * saved once and found again after a resume.
   */
  readonly reference?: SamplingClient.ModelOptions | undefined
  readonly checkpoint?: CheckpointPolicy | undefined
}

const all = (datum: Datum.Datum): ReadonlyArray<number> => {
  const input = ModelInput.tokens(datum.modelInput)
  const targets = TensorData.toArray(datum.lossFnInputs["target_tokens"]!) // every pair has them
  return [...input, Number(targets.at(-1) ?? 0)]
}

/** References of so many steps are kept: more than are ever under way. */
const kept = 64

const ReferencePath = Schema.Struct({ path: Schema.String })

/**
 * Trains a run by preferences (DPO, arXiv:2305.18290): the loss is the mean over pairs of `-log σ(β (Δ chosen - Δ rejected))`, Δ
 * being how much likelier an answer has become than it is under the reference. The reference's log-probabilities of a batch are
 * asked for while the one before is trained on.
 *
 * @since 0.2.0
 * @category training
 */
export const dpo = <E = never, R = never>(
  run: Run.Run,
  options: DpoOptions<E, R>
): Effect.Effect<Run.Summary, E | InvalidInput | Run.TrainError, R> =>
  Effect.gen(function*() {
    const { beta = 0.1, epochs = 1, pairs } = options
    const total = epochs * pairs.batchesPerEpoch
    const rate = options.learningRate ?? 1e-5
    // named once in the life of the run: a reference that moved with a resume would be no reference
    const saved = options.reference !== undefined ? undefined : yield* Effect.orDie(
      run.once("dpo/reference", ReferencePath, saveReference(run))
    )
    const target: SamplingClient.ModelOptions = options.reference ?? { modelPath: saved?.path ?? "" }

    /** By step, one list for each datum. A step that is made again after a recovery is asked for again. */
    const references = new Map<number, ReadonlyArray<ReadonlyArray<number | null>>>()
    const batch = (context: Run.StepContext): Effect.Effect<ReadonlyArray<Datum.Datum>, E | TinkexError, R> =>
      Effect.gen(function*() {
        const chosen = yield* pairs.batch(context.step, run.seed)
        const data = chosen.flatMap((pair) => [pair.chosen, pair.rejected])
        const logprobs = yield* Effect.scoped(
          Effect.flatMap(context.service.createSamplingClient(target), (reference) =>
            Effect.forEach(data, (datum) =>
              Effect.map(reference.computeLogprobs(all(datum)), (list) =>
                list.slice(1)), { concurrency: 64 }))
        )
        references.set(context.step, logprobs)
        references.delete(context.step - kept)
        return data
      })
    return yield* run.train<E | TinkexError, R>({
      batches: batch,
      batchesPerEpoch: pairs.batchesPerEpoch,
      total,
      prefetch: 1,
      loss: (client, data, { step }) =>
        Effect.map(
          CustomLoss.forwardBackwardCustom(
            client,
            data,
            CustomLoss.dpo({
              beta,
              reference: (_, index) =>
                references.get(step)?.[index] ?? []
            })
          ),
          (future) =>
            Future.map(future, ({ loss, metrics }) => ({
              metrics: {
                dpo_loss: loss,
                accuracy: metrics["dpo.accuracy"] ?? 0,
                margin: metrics["dpo.margin"] ?? 0,
                num_pairs: data.length / 2
              }
            }))
        ),
      adam: { learningRate: typeof rate === "number" ? Schedule.linear(rate, total) : rate, eps: 1e-8 },
      checkpoint: options.checkpoint ?? { every: 20, keep: 3 },
      settings: { dpo: { beta, data: yield* pairs.fingerprint, reference: JSON.stringify(target) } }
    })
  })

const saveReference = (run: Run.Run) =>
  run.use(({ client }) =>
    Effect.map(
      Effect.flatMap(client.saveWeightsForSampler("dpo-reference"), Future.await),
      ({ path }) => ({ path })
    )
  )

/**
 * Which of two answers is better.
 *
 * @since 0.2.0
 * @category models
 */
export type Label = "A" | "B" | "Tie"

/**
 * Two answers to one prompt.
 *
 * @since 0.2.0
 * @category models
 */
export interface Comparison {
  readonly prompt: ReadonlyArray<Message.Message>
  readonly a: ReadonlyArray<Message.Message>
  readonly b: ReadonlyArray<Message.Message>
}

/**
 * The conversation in which a model judges: the prompt, both answers under headings, and the question which is better, as the
 * official cookbook writes it. The label is the assistant's answer.
 *
 * @since 0.2.0
 * @category data
 */
export const judgement = ({ a, b, prompt }: Comparison): ReadonlyArray<Message.Message> => [
  ...prompt,
  Message.system("==== Completion A ===="),
  ...a,
  Message.system("==== Completion B ===="),
  ...b,
  Message.system("==== Preference ====")
]

/** The same with the answers exchanged. */
const swapped = ({ a, b, prompt }: Comparison): Comparison => ({ prompt, a: b, b: a })

/**
 * Who judges: +1 when the second answer is better, -1 when the first is, 0 for neither.
 *
 * @since 0.2.0
 * @category models
 */
export interface Judge<out E = never, out R = never> {
  (comparison: Comparison): Effect.Effect<number, E, R>
}

/**
 * A model that was taught to judge: it says one token.
 *
 * @since 0.2.0
 * @category judges
 */
export const judge = (
  sampler: SamplingClient.Client,
  renderer: Renderer
): Judge<TinkexError | InvalidInput> =>
(comparison) =>
  Effect.gen(function*() {
    const prompt = yield* attempt(() => renderer.prompt(judgement(comparison)))
    const { sequences: [said] } = yield* sampler.sample({ prompt, maxTokens: 1, temperature: 0 })
    const text = renderer.tokenizer.decode(said?.tokens ?? []).trim()
    return text.startsWith("B") ? 1 : text.startsWith("A") ? -1 : 0
  })

/**
 * Rewards of answers to one prompt by a tournament: each meets each, both ways round, so that a judge who likes the first answer
 * better favours nobody. The reward is the mean of the judgements of an answer, from -1 to 1.
 *
 * @since 0.2.0
 * @category judges
 */
export const tournament = <E, R>(
  prompt: ReadonlyArray<Message.Message>,
  answers: ReadonlyArray<ReadonlyArray<Message.Message>>,
  judge: Judge<E, R>,
  options: { readonly concurrency?: number | undefined } = {}
): Effect.Effect<ReadonlyArray<number>, E, R> =>
  Effect.gen(function*() {
    const games = answers.flatMap((a, i) =>
      answers.flatMap((b, j) => i < j ? [{ i, j, comparison: { prompt, a, b } }] : [])
    )
    const scores = new Float64Array(answers.length)
    yield* Effect.forEach(games, ({ comparison, i, j }) =>
      Effect.map(Effect.zip(judge(comparison), judge(swapped(comparison))), ([straight, turned]) => {
        const won = straight - turned
        scores[j]! += won
        scores[i]! -= won
      }), { concurrency: options.concurrency ?? 16, discard: true })
    const played = 2 * Math.max(1, answers.length - 1)
    return Array.from(scores, (score) =>
      score / played)
  })
