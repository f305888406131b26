/**
 * Episodes of groups: sampled within limits, tried again by a strategy, siblings stopped when their group is lost.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Ref from "effect/Ref"
import type * as SamplingClient from "../client/SamplingClient.js"
import type { TinkexError } from "../TinkexError.js"
import type { Environment, Group, Trajectory, Transition } from "./Environment.js"

/**
 * How far an episode may go. A limit that is met ends it and is told in `stopped`; it is no failure.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limits {
  /** Actions of an episode; 100 unless given. */
  readonly maxTurns?: number | undefined
  /** Tokens of one action; 256 unless given. */
  readonly maxTurnTokens?: number | undefined
  /** Tokens of all actions. */
  readonly maxSampledTokens?: number | undefined
  /** Tokens of the longest observation with its action. */
  readonly maxTrajectoryTokens?: number | undefined
  /** Calls of tools. */
  readonly maxToolCalls?: number | undefined
  /** Of an episode. What it had come to is kept. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * What becomes of a group when one of its episodes fails.
 *
 * - `failFast`: the failure is that of all; its siblings are stopped.
 * - `retry`: the episode is begun again, so many times in all for a group; then the group is left out.
 * - `minimum`: the same, but the group is kept if at least this share of its episodes ended well.
 *
 * @since 0.2.0
 * @category models
 */
export type Strategy =
  | { readonly _tag: "failFast" }
  | { readonly _tag: "retry"; readonly times: number }
  | { readonly _tag: "minimum"; readonly times: number; readonly share: number }

/**
 * @since 0.2.0
 * @category strategies
 */
export const failFast: Strategy = { _tag: "failFast" }

/**
 * @since 0.2.0
 * @category strategies
 */
export const retry = (times = 3): Strategy => ({ _tag: "retry", times })

/**
 * @since 0.2.0
 * @category strategies
 */
export const minimum = (share = 0.75, times = 3): Strategy => ({ _tag: "minimum", share, times })

/**
 * How to act.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** 1 unless given. */
  readonly temperature?: number | undefined
  readonly limits?: Limits | undefined
  /** `retry(3)` unless given. */
  readonly strategy?: Strategy | undefined
  /** Of all draws: the same seed gives the same episodes, whatever else runs. */
  readonly seed: number
}

/**
 * A seed for a draw from what tells it apart: the seed of the run, a group, an episode, a turn. 48 bits, an exact number.
 *
 * @since 0.2.0
 * @category seeds
 */
export const mix = (...parts: ReadonlyArray<number>): number => {
  let [high, low] = [0x9e3779b9, 0x85ebca6b]
  for (const part of parts) {
    low = Math.imul(low ^ part, 0xc2b2ae35)
    high = Math.imul(high ^ low ^ Math.floor(part / 2 ** 32), 0x27d4eb2f)
    low ^= high >>> 13
  }
  return ((high >>> 16) & 0xffff) * 2 ** 32 + (low >>> 0)
}

interface Progress {
  readonly transitions: Array<Transition>
  stopped: string
}

const act = <E, R>(
  sampler: SamplingClient.Client,
  environment: Environment<E, R>,
  { limits = {}, seed, temperature }: Options,
  progress: Progress
): Effect.Effect<void, E | TinkexError, R> =>
  Effect.gen(function*() {
    let observation = yield* environment.observe
    let [sampled, calls] = [0, 0]
    for (let turn = 0;; turn++) {
      const prompt = observation.tokens
      const rest = Math.min(
        limits.maxTurnTokens ?? 256,
        (limits.maxSampledTokens ?? Infinity) - sampled,
        (limits.maxTrajectoryTokens ?? Infinity) - prompt.length
      )
      if (turn >= (limits.maxTurns ?? 100)) return void (progress.stopped = "max_turns")
      if (rest < 1) return void (progress.stopped = "max_tokens")
      if (calls > (limits.maxToolCalls ?? Infinity)) return void (progress.stopped = "max_tool_calls")
      const { sequences: [drawn] } = yield* sampler.sample({
        prompt,
        maxTokens: rest,
        temperature,
        stop: observation.stop,
        seed: mix(seed, turn)
      })
      if (drawn === undefined) return void (progress.stopped = "nothing_sampled")
      sampled += drawn.tokens.length
      const logprobs = drawn.logprobs ?? new Float32Array(drawn.tokens.length)
      const result = yield* environment.step({ tokens: drawn.tokens, logprobs, stopReason: drawn.stopReason })
      calls += result.toolCalls ?? 0
      progress.transitions.push({
        observation: [...prompt],
        tokens: [...drawn.tokens],
        logprobs: [...logprobs],
        reward: result.reward,
        masked: result.masked ?? false,
        metrics: result.metrics ?? {}
      })
      if (result.next === undefined) return void (progress.stopped = "done")
      observation = result.next
    }
  })

/**
 * One episode.
 *
 * @since 0.2.0
 * @category running
 */
export const play = <E, R>(
  sampler: SamplingClient.Client,
  environment: Environment<E, R>,
  options: Options
): Effect.Effect<Trajectory, E | TinkexError, R> =>
  Effect.suspend(() => {
    const progress: Progress = { transitions: [], stopped: "timeout" }
    const run = act(sampler, environment, options, progress)
    const timeout = options.limits?.timeout
    return Effect.as(
      timeout === undefined ? run : Effect.asVoid(Effect.timeoutOption(run, timeout)),
      { transitions: progress.transitions, stopped: progress.stopped }
    )
  })

/**
 * A group whose episodes failed too often to be of use.
 *
 * @since 0.2.0
 * @category errors
 */
export class GroupFailed extends Data.TaggedError("GroupFailed")<{
  readonly finished: number
  readonly size: number
  readonly cause: unknown
}> {
  override get message(): string {
    const why = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `${this.finished} of ${this.size} episodes of a group ended well, which is too few: ${why}`
  }
}

/**
 * Episodes of a group, side by side. Fails with the failure of an episode (`failFast`), or with `GroupFailed`. Whatever it ends
 * by, no episode goes on.
 *
 * @since 0.2.0
 * @category running
 */
export const group = <E, R>(
  sampler: SamplingClient.Client,
  members: Group<E, R>,
  options: Options
): Effect.Effect<ReadonlyArray<Trajectory>, E | TinkexError | GroupFailed, R> =>
  Effect.gen(function*() {
    const strategy = options.strategy ?? retry()
    const tries = yield* Ref.make(strategy._tag === "failFast" ? 0 : strategy.times)
    const one = (index: number, attempt: number): Effect.Effect<Trajectory, E | TinkexError, R> =>
      Effect.flatMap(
        members.make(index),
        (environment) => play(sampler, environment, { ...options, seed: mix(options.seed, index, attempt) })
      ).pipe(
        Effect.catchAll((error) =>
          Effect.flatMap(
            Ref.modify(tries, (left) => [left > 0, Math.max(0, left - 1)] as const),
            (again) => again ? one(index, attempt + 1) : Effect.fail(error)
          )
        )
      )
    const indices = Array.from({ length: members.size }, (_, i) => i)
    if (strategy._tag !== "minimum") {
      const all = Effect.forEach(indices, (index) => one(index, 0), { concurrency: "unbounded" })
      return yield* strategy._tag === "failFast"
        ? all
        : Effect.mapError(all, (cause) => new GroupFailed({ finished: 0, size: members.size, cause }))
    }
    const ended = yield* Effect.forEach(indices, (index) => Effect.either(one(index, 0)), { concurrency: "unbounded" })
    const good = ended.filter(Either.isRight).map(({ right }) => right)
    const failed = ended.find(Either.isLeft)
    return good.length >= Math.ceil(strategy.share * members.size) || failed === undefined
      ? good
      : yield* new GroupFailed({ finished: good.length, size: members.size, cause: failed.left })
  })
