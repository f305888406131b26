/**
 * When a run saves its state, and what of it is kept.
 *
 * @since 0.2.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../protocol/InvalidInput.js"

/**
 * When to save, how long to keep it at the service, and what to remove. Several conditions may be given; each counts by itself.
 *
 * @since 0.2.0
 * @category models
 */
export interface CheckpointPolicy {
  /** Saves after every so many updates. */
  readonly every?: number | undefined
  /** Saves when so much time has passed since the last. */
  readonly everyTime?: Duration.DurationInput | undefined
  /** Saves when so many tokens were trained on since the last. */
  readonly everyTokens?: number | undefined
  /** How many to keep, the newest; the others are removed when the next is complete. All unless given: their TTL ends them. */
  readonly keep?: number | undefined
  /** Keeps, beside those, the best by a metric of the step before the checkpoint. */
  readonly best?: {
    readonly metric: string
    readonly mode?: "min" | "max" | undefined
    readonly keep?: number | undefined
  } | undefined
  /** How long the service keeps them; 7 days unless given, `null`: for ever. */
  readonly ttl?: Duration.DurationInput | null | undefined
  /** Whether sampler weights are saved too; `true` unless given. */
  readonly sampler?: boolean | undefined
  /** State alone, more often, each in place of the one before: to go on from, not to keep. */
  readonly rolling?: { readonly every: number; readonly ttl?: Duration.DurationInput | undefined } | undefined
  /** Whether the end of training is saved, for ever, as `final`; `true` unless given. */
  readonly final?: boolean | undefined
}

/**
 * A policy with its defaults, times in milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Checked {
  readonly every: number | undefined
  readonly everyMillis: number | undefined
  readonly everyTokens: number | undefined
  readonly keep: number | undefined
  readonly best: { readonly metric: string; readonly mode: "min" | "max"; readonly keep: number } | undefined
  readonly ttl: Duration.Duration | undefined
  readonly sampler: boolean
  readonly rolling: { readonly every: number; readonly ttl: Duration.Duration } | undefined
  readonly final: boolean
}

const whole = (field: string, value: number | undefined) =>
  value === undefined || (Number.isSafeInteger(value) && value >= 1)
    ? Effect.void
    : new InvalidInput({ field: `checkpoint.${field}`, expected: "a whole number from 1", actual: String(value) })

/**
 * A policy with its defaults; what cannot be meant is refused.
 *
 * @since 0.2.0
 * @category constructors
 */
export const check = (policy: CheckpointPolicy = {}): Effect.Effect<Checked, InvalidInput> =>
  Effect.gen(function*() {
    const { best, every, everyTime, everyTokens, final = true, keep, rolling, sampler = true, ttl } = policy
    yield* whole("every", every)
    yield* whole("everyTokens", everyTokens)
    yield* whole("keep", keep)
    yield* whole("best.keep", best?.keep)
    yield* whole("rolling.every", rolling?.every)
    const everyMillis = everyTime === undefined ? undefined : Duration.toMillis(everyTime)
    if (everyMillis !== undefined && everyMillis <= 0) {
      return yield* new InvalidInput({ field: "checkpoint.everyTime", expected: "a time above 0", actual: "none" })
    }
    return {
      every,
      everyMillis,
      everyTokens,
      keep,
      best: best === undefined
        ? undefined
        : { metric: best.metric, mode: best.mode ?? "min", keep: best.keep ?? 1 },
      ttl: ttl === null ? undefined : Duration.decode(ttl ?? "7 days"),
      sampler,
      rolling: rolling === undefined
        ? undefined
        : { every: rolling.every, ttl: Duration.decode(rolling.ttl ?? "2 hours") },
      final
    }
  })

/**
 * Where a run is, as far as saving goes.
 *
 * @since 0.2.0
 * @category models
 */
export interface Progress {
  /** With the one that is being decided on. */
  readonly updates: number
  readonly tokens: number
  readonly now: number
  /** At the last periodic save, or the beginning. */
  readonly last: { readonly tokens: number; readonly at: number }
}

/**
 * Whether to save behind an update, and how.
 *
 * @since 0.2.0
 * @category getters
 */
export const due = (policy: Checked, { last, now, tokens, updates }: Progress): "periodic" | "rolling" | undefined => {
  if (policy.every !== undefined && updates % policy.every === 0) return "periodic"
  if (policy.everyTokens !== undefined && tokens - last.tokens >= policy.everyTokens) return "periodic"
  if (policy.everyMillis !== undefined && now - last.at >= policy.everyMillis) return "periodic"
  return policy.rolling !== undefined && updates % policy.rolling.every === 0 ? "rolling" : undefined
}

/**
 * A complete checkpoint, as far as keeping goes.
 *
 * @since 0.2.0
 * @category models
 */
export interface Kept {
  readonly updates: number
  readonly path: string
  readonly kind: "periodic" | "rolling" | "final" | "adopted"
  readonly score?: number | undefined
}

/**
 * What may go, of complete checkpoints from the oldest to the newest. The newest never does, nor a final one, nor one that the
 * run did not make itself.
 *
 * @since 0.2.0
 * @category getters
 */
export const superfluous = <A extends Kept>(policy: Checked, checkpoints: ReadonlyArray<A>): ReadonlyArray<A> => {
  const newest = checkpoints.at(-1)
  const keep = new Set<A>(checkpoints.filter((one) => one === newest || one.kind === "final" || one.kind === "adopted"))
  const periodic = checkpoints.filter(({ kind }) => kind === "periodic")
  for (const one of policy.keep === undefined ? periodic : periodic.slice(-policy.keep)) keep.add(one)
  if (policy.best !== undefined) {
    const sign = policy.best.mode === "min" ? 1 : -1
    const scored = periodic.filter(({ score }) => score !== undefined && !Number.isNaN(score))
    scored.sort((a, b) => sign * ((a.score ?? 0) - (b.score ?? 0)) || b.updates - a.updates)
    for (const one of scored.slice(0, policy.best.keep)) keep.add(one)
  }
  return checkpoints.filter((one) => !keep.has(one))
}
