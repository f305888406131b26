/**
 * Is it better? Examples answered and scored, two models on the same examples and seeds, and how sure one can be of the
 * difference.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Message from "../chat/Message.js"
import type * as ChatModel from "../client/ChatModel.js"
import type { InvalidInput } from "../protocol/InvalidInput.js"
import type { TinkexError } from "../TinkexError.js"
import { mix } from "./Episode.js"

/**
 * Something to answer, and what its score is reckoned by.
 *
 * @since 0.2.0
 * @category models
 */
export interface Example<out A> {
  readonly messages: ReadonlyArray<Message.Message>
  readonly expected: A
}

/**
 * How good an answer is, from 0 to 1 by custom.
 *
 * @since 0.2.0
 * @category models
 */
export interface Scorer<in A, out E = never, out R = never> {
  (answer: Message.Message, example: Example<A>): number | Effect.Effect<number, E, R>
}

/**
 * How answers are drawn.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  readonly maxTokens?: number | undefined
  /** 0 unless given: the likeliest answer. */
  readonly temperature?: number | undefined
  /** Answers to each example, whose scores are averaged; 1 unless given. */
  readonly samples?: number | undefined
  /** Of the draws: the same for two models that are compared. 0 unless given. */
  readonly seed?: number | undefined
  /** Examples at one time; 32 unless given. */
  readonly concurrency?: number | undefined
}

/**
 * Scores of examples, in their order, and their mean.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Scores = Schema.Struct({ mean: Schema.Number, scores: Schema.Array(Schema.Number) })

/**
 * @since 0.2.0
 * @category models
 */
export interface Scores extends Schema.Schema.Type<typeof Scores> {}

const meanOf = (values: ReadonlyArray<number>): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

/**
 * A model's answers to examples, scored.
 *
 * @since 0.2.0
 * @category running
 */
export const run = <A, E = never, R = never>(
  model: ChatModel.ChatModel,
  examples: ReadonlyArray<Example<A>>,
  scorer: Scorer<A, E, R>,
  options: Options = {}
): Effect.Effect<Scores, E | TinkexError | InvalidInput, R> =>
  Effect.map(
    Effect.forEach(examples, (example, i) =>
      Effect.gen(function*() {
        const { choices } = yield* model.generate({
          messages: example.messages,
          maxTokens: options.maxTokens ?? 256,
          temperature: options.temperature ?? 0,
          numSamples: options.samples,
          seed: mix(options.seed ?? 0, i)
        })
        const scores = yield* Effect.forEach(choices, ({ message }) => {
          const score = scorer(message, example)
          return typeof score === "number" ? Effect.succeed(score) : score
        })
        return meanOf(scores)
      }), { concurrency: options.concurrency ?? 32 }),
    (scores) => ({ mean: meanOf(scores), scores })
  )

/**
 * A difference and between what it lies.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Interval = Schema.Struct({ mean: Schema.Number, low: Schema.Number, high: Schema.Number })

/**
 * @since 0.2.0
 * @category models
 */
export interface Interval extends Schema.Schema.Type<typeof Interval> {}

/** Numbers in [0, 1) from a seed: xorshift, whose quality is more than resampling needs. */
const generator = (seed: number) => {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1
  return (): number => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state / 2 ** 32
  }
}

/**
 * The mean of values with an interval in which it lies with a confidence, by resampling (percentile bootstrap, Efron 1979).
 *
 * @since 0.2.0
 * @category statistics
 */
export const bootstrap = (
  values: ReadonlyArray<number>,
  options: {
    /** 0.95 unless given. */
    readonly confidence?: number | undefined
    /** 2,000 unless given. */
    readonly resamples?: number | undefined
    readonly seed?: number | undefined
  } = {}
): Interval => {
  const { confidence = 0.95, resamples = 2000, seed = 0 } = options
  const next = generator(seed)
  const means = new Float64Array(resamples)
  for (let r = 0; r < resamples; r++) {
    let sum = 0
    for (let i = 0; i < values.length; i++) sum += values[Math.floor(next() * values.length)]!
    means[r] = values.length === 0 ? 0 : sum / values.length
  }
  means.sort()
  const at = (share: number): number => means[Math.min(resamples - 1, Math.max(0, Math.floor(share * resamples)))] ?? 0
  return { mean: meanOf(values), low: at((1 - confidence) / 2), high: at((1 + confidence) / 2) }
}

/**
 * Two models on the same examples. As a schema, what a stage of a pipeline that evaluates gives.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Comparison = Schema.Struct({
  before: Scores,
  after: Scores,
  /** Of the differences example by example, after less before. */
  difference: Interval
})

/**
 * @since 0.2.0
 * @category models
 */
export interface Comparison extends Schema.Schema.Type<typeof Comparison> {}

/**
 * Compares two models on the same examples with the same seeds. The interval is that of the differences example by example,
 * which is narrower than that of two means.
 *
 * @since 0.2.0
 * @category running
 */
export const compare = <A, E = never, R = never>(
  before: ChatModel.ChatModel,
  after: ChatModel.ChatModel,
  examples: ReadonlyArray<Example<A>>,
  scorer: Scorer<A, E, R>,
  options: Options & { readonly confidence?: number | undefined } = {}
): Effect.Effect<Comparison, E | TinkexError | InvalidInput, R> =>
  Effect.map(
    Effect.zip(run(before, examples, scorer, options), run(after, examples, scorer, options), { concurrent: true }),
    ([one, two]) => ({
      before: one,
      after: two,
      difference: bootstrap(two.scores.map((score, i) => score - (one.scores[i] ?? 0)), {
        confidence: options.confidence,
        seed: options.seed
      })
    })
  )

/**
 * A model that is worse than the one before.
 *
 * @since 0.2.0
 * @category errors
 */
export class Regression
  extends Data.TaggedError("Regression")<{ readonly comparison: Comparison; readonly tolerance: number }>
{
  override get message(): string {
    const { after, before, difference } = this.comparison
    return `the score fell from ${before.mean.toFixed(3)} to ${after.mean.toFixed(3)}: the difference lies between ` +
      `${difference.low.toFixed(3)} and ${difference.high.toFixed(3)}, below what is tolerated (${
        (-this.tolerance).toFixed(3)
      })`
  }
}

/**
 * A gate: fails when the whole interval of the difference lies below what is tolerated, so that chance alone seldom closes it.
 *
 * @since 0.2.0
 * @category gates
 */
export const gate = (
  comparison: Comparison,
  options: { readonly tolerance?: number | undefined } = {}
): Effect.Effect<Comparison, Regression> => {
  const tolerance = options.tolerance ?? 0
  return comparison.difference.high < -tolerance
    ? Effect.fail(new Regression({ comparison, tolerance }))
    : Effect.succeed(comparison)
}
