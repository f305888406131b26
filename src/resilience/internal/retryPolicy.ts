/** The policy's handle, its options, and the loop that carries it out. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import type { Change, Judgement, RetryOptions, RetryPolicy, Settings, StopReason } from "../RetryPolicy.js"
import * as handle from "./handle.js"
import * as options_ from "./options.js"
import type { InvalidOptions } from "./options.js"

interface Normal {
  readonly enabled: boolean
  readonly maxAttempts: number
  readonly baseMillis: number
  readonly factor: number
  readonly capMillis: number
  readonly jitter: "full" | "none"
  readonly deadlineMillis: number
  readonly retryAfterCapMillis: number
}

export const normalise = (options: Settings): Effect.Effect<Normal, InvalidOptions> => {
  const s: Normal = {
    enabled: options.enabled ?? true,
    maxAttempts: options.maxAttempts ?? 11,
    baseMillis: options_.toMillis(options.base ?? "500 millis"),
    factor: options.factor ?? 2,
    capMillis: options_.toMillis(options.cap ?? "10 seconds"),
    jitter: options.jitter ?? "full",
    deadlineMillis: options_.toMillis(options.deadline ?? Duration.infinity),
    retryAfterCapMillis: options_.toMillis(options.retryAfterCap ?? "60 seconds")
  }
  return options_.checked("RetryPolicy", [
    [
      "maxAttempts",
      s.maxAttempts,
      options_.isCountOrInfinite(s.maxAttempts),
      "a whole number of at least 1, or Infinity"
    ],
    ["base", options.base, options_.isPositive(s.baseMillis), "a finite duration above zero"],
    ["factor", s.factor, s.factor >= 1 && Number.isFinite(s.factor), "a finite number of at least 1"],
    ["cap", options.cap, options_.isPositive(s.capMillis), "a finite duration above zero"],
    ["jitter", s.jitter, s.jitter === "full" || s.jitter === "none", "full or none"],
    ["deadline", options.deadline, s.deadlineMillis >= 0, "a duration"],
    ["retryAfterCap", options.retryAfterCap, s.retryAfterCapMillis >= 0, "a duration"]
  ], () => s)
}

export const makeHandle = <E>(
  key: string,
  settings: Normal,
  judgement: Judgement<E>,
  hub: PubSub.PubSub<Change>
): RetryPolicy<E> => {
  const outbox = handle.makeOutbox(hub)
  return handle.makeHandle<RetryPolicy<E>>("tinkex/RetryPolicy", {
    key,
    enabled: settings.enabled,
    maxAttempts: settings.maxAttempts,
    deadline: Duration.millis(settings.deadlineMillis),
    retryAfterCap: Duration.millis(settings.retryAfterCapMillis),
    while: judgement.while,
    retryAfter: judgement.retryAfter,
    delay: (attempt, retryAfter = Duration.zero) => {
      const longest = Math.min(settings.capMillis, settings.baseMillis * settings.factor ** (attempt - 1))
      const asked = Duration.toMillis(retryAfter)
      return settings.jitter === "none"
        ? Effect.succeed(Duration.millis(asked + longest))
        : Effect.map(Random.next, (u) => Duration.millis(asked + u * longest))
    },
    publish: (change) =>
      Effect.suspend(() => {
        outbox.note(change)
        return outbox.flush
      }),
    changes: handle.subscribeKey(hub, key),
    toJSON: () => ({ _id: "tinkex/RetryPolicy", key, ...settings })
  })
}

/** Carries the policy out. */
export const retry = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  policy: RetryPolicy<E>,
  options: RetryOptions<E> = {}
): Effect.Effect<A, E, R> => {
  if (!policy.enabled) return self
  return Effect.clockWith((clock) => {
    const latest = handle.nowMillis(clock) + Duration.toMillis(policy.deadline)
    const attemptFrom = (attempt: number): Effect.Effect<A, E, R> =>
      Effect.catchAllCause(self, (cause) =>
        Either.match(Cause.failureOrCause(cause), {
          onRight: Effect.failCause,
          onLeft: (error) =>
            Effect.flatMap(
              decide(attempt, error, policy, options, options.left?.() ?? latest - handle.nowMillis(clock)),
              (delay) =>
                Duration.isDuration(delay)
                  ? Effect.zipRight(Effect.sleep(delay), attemptFrom(attempt + 1))
                  : Effect.zipRight(
                    policy.publish({ _tag: "GaveUp", key: policy.key, attempt, reason: delay }),
                    Effect.failCause(cause)
                  )
            )
        }))
    return Effect.zipRight(options.budget?.deposit ?? Effect.void, attemptFrom(1))
  })
}

/** How long to wait before the next attempt, or why there is none. */
const decide = <E>(
  attempt: number,
  error: E,
  policy: RetryPolicy<E>,
  options: RetryOptions<E>,
  leftMillis: number
): Effect.Effect<Duration.Duration | StopReason> => {
  const worth = options.while ?? policy.while
  if (worth !== undefined && !worth(error)) return Effect.succeed("notRetryable")
  if (attempt >= (options.maxAttempts ?? policy.maxAttempts)) return Effect.succeed("attempts")
  const asked = Option.getOrElse((options.retryAfter ?? policy.retryAfter ?? Option.none)(error), () => Duration.zero)
  if (Duration.greaterThan(asked, policy.retryAfterCap)) return Effect.succeed("retryAfter")
  if (leftMillis <= 0 || Duration.toMillis(asked) > leftMillis) return Effect.succeed("deadline")
  return Effect.flatMap(policy.delay(attempt, asked), (drawn) => {
    if (options.left !== undefined && Duration.toMillis(drawn) >= leftMillis) return Effect.succeed("deadline")
    const delay = Duration.millis(Math.min(Math.ceil(Duration.toMillis(drawn)), leftMillis, handle.maxSleepMillis))
    const retrying = Effect.zipRight(
      policy.publish({ _tag: "Retrying", key: policy.key, attempt, delay }),
      options.onRetry?.({ attempt, delay, error }) ?? Effect.void
    )
    return (options.withdraw ?? options.budget?.withdraw ?? Effect.void).pipe(
      Effect.zipRight(Effect.as(retrying, delay)),
      Effect.catchTag("BudgetExhausted", () => Effect.succeed<StopReason>("budget"))
    )
  })
}
