/**
 * Results of operations: promised by id, read as often and by as many as ask, kept for a while.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Refusal, tooMany } from "../http/refusal.js"
import { ServerConfig } from "../ServerConfig.js"
import { judging } from "../time.js"
import * as Completions from "./completions.js"

/**
 * A result as it goes to a client: an object of JSON, or one of the heavy kinds that travel as protobuf to those who
 * ask for it and as JSON to those who do not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Result {
  /** The JSON body, as an object. */
  readonly json: Effect.Effect<unknown>
  /** The protobuf body, if this kind of result has one. */
  readonly protobuf?: Effect.Effect<Uint8Array> | undefined
  /** About how many bytes the body has. */
  readonly bytes: number
}

/**
 * Why an operation failed; `user` is the caller's mistake (docs/protocol/futures.md#failures).
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure {
  readonly error: string
  readonly category: "user" | "server" | "unknown"
}

/**
 * What a waiting client may tell its user.
 *
 * @since 0.1.0
 * @category models
 */
export interface QueueState {
  readonly state: "active" | "paused_capacity" | "paused_rate_limit"
  readonly reason?: string | undefined
}

/**
 * What is known of a future: its result or failure, that it is still to come, that its result was dropped, or nothing.
 *
 * @since 0.1.0
 * @category models
 */
export type Poll =
  | { readonly _tag: "Ready"; readonly result: Result }
  | { readonly _tag: "Failed"; readonly failure: Failure }
  | { readonly _tag: "Pending"; readonly queue: QueueState }
  | { readonly _tag: "Gone" }
  | { readonly _tag: "Unknown" }

/**
 * @since 0.1.0
 * @category services
 */
export class Futures extends Context.Tag("tinkex/server/Futures")<Futures, {
  /** Why nothing more may be promised, when results that nobody reads take as much memory as they may. */
  readonly unsafeFull: () => Refusal | undefined
  /** Promises a result under `id`. `queue` is asked when a client polls in vain. */
  readonly submit: (id: string, queue: Effect.Effect<QueueState>) => Effect.Effect<void>
  /** Keeps the promise, once; a second time is ignored. */
  readonly settle: (id: string, outcome: Either.Either<Result, Failure>) => Effect.Effect<void>
  /** Waits for the result, at most as long as the long poll is held. */
  readonly poll: (id: string) => Effect.Effect<Poll>
  /**
   * Which requests of a sampler's copy were settled after `cursor`: waits for one, at most as long as the long poll is held, unless
   * `hold` is false.
   */
  readonly completed: (target: {
    readonly samplerId: string
    readonly clone: number
    readonly cursor: number
    readonly hold: boolean
  }) => Effect.Effect<Completions.Completions>
  /** Whether anything is known of a request: promised, kept or dropped. */
  readonly isKnown: (id: string) => Effect.Effect<boolean>
  /** Makes every poll that is being held answer now. */
  readonly release: Effect.Effect<void>
  /** How many are promised, how many are kept, and how many polls are being held. */
  readonly stats: Effect.Effect<
    { readonly pending: number; readonly kept: number; readonly bytes: number; readonly held: number }
  >
}>() {}

interface Entry {
  readonly done: Deferred.Deferred<Poll>
  readonly queue: Effect.Effect<QueueState>
  outcome: Poll | undefined
  settledAt: number
  place: number
  bytes: number
}

/** Ids of dropped results that are remembered, to answer 410 rather than 404. */
const rememberedIds = 100_000

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Context.Tag.Service<Futures>, never, ServerConfig | Scope.Scope> = Effect.gen(
  function*() {
    const config = yield* ServerConfig
    const entries = new Map<string, Entry>()
    const completions = Completions.make(entries)
    const dropped = new Set<string>()
    /** Those of the entries that were read, in that order. */
    const read = new Map<string, Entry>()
    const shutdown = yield* Deferred.make<void>()
    const { resultBytes, unreadResultBytes } = config.limits
    const retention = Duration.toMillis(config.resultRetention)
    let bytes = 0
    let pending = 0
    let held = 0

    const drop = (id: string, entry: Entry): void => {
      entries.delete(id)
      read.delete(id)
      bytes -= entry.bytes
      remember(dropped, id)
    }

    /** Drops settled entries, the first first, until few enough bytes are kept. */
    const shrink = (from: ReadonlyMap<string, Entry>, limit: number): void => {
      if (bytes <= limit) return
      for (const [id, entry] of from) {
        if (entry.outcome !== undefined) drop(id, entry)
        if (bytes <= limit) return
      }
    }

    const shrinkAll = (): void => {
      shrink(read, resultBytes)
      // what was taken in before there was no more room still comes; it may not fill the memory either
      shrink(entries, 2 * unreadResultBytes)
    }

    const sweep = (now: number): void => {
      for (const [id, entry] of entries) {
        if (entry.outcome !== undefined && entry.settledAt + retention <= now) drop(id, entry)
      }
      shrinkAll()
    }

    const now = yield* judging(
      Duration.max(Duration.seconds(1), Duration.times(config.resultRetention, 0.1)),
      (now) => Effect.sync(() => sweep(now))
    )

    const unsafeFull = (): Refusal | undefined =>
      bytes < unreadResultBytes
        ? undefined
        : tooMany(`${bytes} bytes of results wait to be read; read them, then submit again`, 1)

    const submit = (id: string, queue: Effect.Effect<QueueState>) =>
      Effect.map(Deferred.make<Poll>(), (done) => {
        pending++
        entries.set(id, { done, queue, outcome: undefined, settledAt: 0, place: 0, bytes: 0 })
      })

    const settle = Effect.fnUntraced(function*(id: string, outcome: Either.Either<Result, Failure>) {
      const settledAt = yield* now
      const entry = entries.get(id)
      if (entry === undefined || entry.outcome !== undefined) return
      entry.outcome = Either.isRight(outcome)
        ? { _tag: "Ready", result: outcome.right }
        : { _tag: "Failed", failure: outcome.left }
      entry.settledAt = settledAt
      entry.place = completions.place()
      entry.bytes = Either.isRight(outcome) ? outcome.right.bytes : outcome.left.error.length
      bytes += entry.bytes
      pending--
      // so that the map's order is that of settling
      entries.delete(id)
      entries.set(id, entry)
      shrinkAll()
      yield* Deferred.succeed(entry.done, entry.outcome)
      yield* completions.wake
    })

    const outcomeOf = (id: string, entry: Entry): Effect.Effect<Poll> =>
      Effect.suspend(() => {
        if (entry.outcome === undefined) return Effect.map(entry.queue, (queue) => ({ _tag: "Pending", queue }))
        if (entries.get(id) === entry) read.set(id, entry)
        return Effect.succeed(entry.outcome)
      })

    /** Waits as long as a poll is held. */
    const hold = (event: Effect.Effect<unknown>) =>
      Effect.acquireUseRelease(
        Effect.sync(() => held++),
        () => Effect.timeoutOption(Effect.raceFirst(event, Deferred.await(shutdown)), config.longPoll),
        () => Effect.sync(() => held--)
      )

    const poll = (id: string): Effect.Effect<Poll> =>
      Effect.suspend(() => {
        const entry = entries.get(id)
        if (entry === undefined) return Effect.succeed(dropped.has(id) ? gone : unknown)
        if (entry.outcome !== undefined) return outcomeOf(id, entry)
        return Effect.zipRight(hold(Deferred.await(entry.done)), outcomeOf(id, entry))
      })

    const completed: Context.Tag.Service<Futures>["completed"] = ({ clone, cursor, hold: holds, samplerId }) => {
      const now = Effect.sync(() => completions.since(samplerId, clone, cursor))
      return holds ? Effect.zipRight(hold(completions.next(samplerId, clone, cursor)), now) : now
    }

    return {
      unsafeFull,
      submit,
      settle,
      poll,
      completed,
      isKnown: (id) => Effect.sync(() => entries.has(id) || dropped.has(id)),
      release: Effect.asVoid(Deferred.succeed(shutdown, void 0)),
      stats: Effect.sync(() => ({ pending, kept: entries.size - pending, bytes, held }))
    }
  }
)

const remember = (ids: Set<string>, id: string): void => {
  ids.add(id)
  if (ids.size <= rememberedIds) return
  for (const oldest of ids) {
    ids.delete(oldest)
    return
  }
}

const gone: Poll = { _tag: "Gone" }
const unknown: Poll = { _tag: "Unknown" }

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Futures, never, ServerConfig> = Layer.scoped(Futures, make)
