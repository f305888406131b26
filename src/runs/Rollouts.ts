/**
 * Data that are sampled from the model itself, as reinforcement learning needs them. What was sampled is on the disk before it
 * is trained on, so that a run that is taken up again samples nothing twice and trains on the same.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type { ParseError } from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as SamplingClient from "../client/SamplingClient.js"
import type { Datum } from "../protocol/Datum.js"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/Rollouts")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * What a round of sampling is given.
 *
 * @since 0.2.0
 * @category models
 */
export interface SampleContext {
  /** Samples with the weights that this round is to use. */
  readonly sampler: SamplingClient.Client
  /** Which round, from 0. */
  readonly index: number
  /** Updates that the sampler's weights hold. */
  readonly updates: number
  /** The same for the same round of the same run: seeds of requests follow from it. */
  readonly seed: number
}

/**
 * Which of the updates of a round data are wanted for.
 *
 * @since 0.2.0
 * @category models
 */
export interface DataContext {
  readonly step: number
  /** The round that was sampled. */
  readonly index: number
  /** From 0 below `updates`. */
  readonly part: number
}

/**
 * Tokens that a round of sampling used.
 *
 * @since 0.2.0
 * @category models
 */
export interface Usage {
  readonly sampled: number
  readonly prefill?: number | undefined
  /** Those of `prefill` that were found in the prefix cache. */
  readonly prefillCached?: number | undefined
}

/**
 * How samples are drawn, kept and trained on. `S` is what a round gives.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options<S, I, E, R, E2 = never, R2 = never> {
  /** As what a round is kept. */
  readonly schema: Schema.Schema<S, I>
  /** A round of sampling. */
  readonly sample: (context: SampleContext) => Effect.Effect<S, E, R>
  /** What is trained on: a pure function of the round and the step. */
  readonly data: (sample: S, context: DataContext) => Effect.Effect<ReadonlyArray<Datum>, E2, R2>
  /** Updates from one round, from 1; 1 unless given. */
  readonly updates?: number | undefined
  /**
   * How many rounds the sampler is behind, from 0. At 0, which holds unless given, a round samples with the weights that it will
   * change; at `n` it samples with those of `n` rounds before, while those rounds are being trained on.
   */
  readonly ahead?: number | undefined
  /** Tokens of a round, for metrics, cost and budget. */
  readonly usage?: ((sample: S) => Usage) | undefined
  /** Most tokens that a round will use: what a budget must have left for it. */
  readonly most?: Usage | undefined
  /** Figures of a round, for the rows of its steps, as `reward/total`. */
  readonly metrics?: ((sample: S) => Readonly<Record<string, number>>) | undefined
  /**
   * Trajectories of a round, as lines of the cookbook's `train_rollout_summaries.jsonl`: `total_reward`, `steps`, and what else
   * there is to say.
   */
  readonly summaries?: ((sample: S) => ReadonlyArray<Readonly<Record<string, unknown>>>) | undefined
}

/**
 * A round that was sampled, now or before.
 *
 * @since 0.2.0
 * @category models
 */
export interface Round<out E, out R> {
  /** As it is kept: JSON. */
  readonly text: string
  readonly usage: Usage
  readonly metrics: Readonly<Record<string, number>>
  readonly summaries: ReadonlyArray<Readonly<Record<string, unknown>>>
  readonly data: (context: DataContext) => Effect.Effect<ReadonlyArray<Datum>, E, R>
}

/**
 * Rounds of samples, as `Run.train` takes them.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rollouts<out E = never, out R = never> {
  readonly [TypeId]: TypeId
  readonly updates: number
  readonly ahead: number
  readonly most: Usage | undefined
  readonly sample: (context: SampleContext) => Effect.Effect<Round<E, R>, E, R>
  /** A round from how it was kept. */
  readonly recall: (text: string) => Effect.Effect<Round<E, R>, ParseError>
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isRollouts = (u: unknown): u is Rollouts<unknown, unknown> => Predicate.hasProperty(u, TypeId)

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = <S, I, E = never, R = never, E2 = never, R2 = never>(
  options: Options<S, I, E, R, E2, R2>
): Rollouts<E | E2, R | R2> => {
  const json = Schema.parseJson(options.schema)
  const round = (sample: S, text: string): Round<E2, R2> => ({
    text,
    usage: options.usage?.(sample) ?? { sampled: 0 },
    metrics: options.metrics?.(sample) ?? {},
    summaries: options.summaries?.(sample) ?? [],
    data: (context) => options.data(sample, context)
  })
  return {
    [TypeId]: TypeId,
    updates: options.updates ?? 1,
    ahead: options.ahead ?? 0,
    most: options.most,
    // a sample that its own schema cannot write is a defect of the program
    sample: (context) =>
      Effect.flatMap(
        options.sample(context),
        (sample) => Effect.map(Effect.orDie(Schema.encode(json)(sample)), (text) => round(sample, text))
      ),
    recall: (text) => Effect.map(Schema.decode(json)(text), (sample) => round(sample, text))
  }
}
