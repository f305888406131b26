/**
 * The operations of one training run, in the order of their `seq_id` and not of their arrival.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { FaultInjector } from "../FaultInjector.js"
import type { Failure, Futures, QueueState, Result } from "../futures/Futures.js"
import { conflict, Refusal, tooMany } from "../http/refusal.js"
import type { Uploads } from "../http/uploads.js"
import { type Trace, traced } from "../sessions/Trace.js"
import { monotonic } from "../time.js"
import type { AppliedLog } from "./AppliedLog.js"

/**
 * An operation as a request brings it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Submission {
  /** Place in the run's order, from 1; 0 is what makes the run. Absent (older clients, curl): after everything known. */
  readonly seqId: number | undefined
  readonly endpoint: string
  /** Tells a repeated request from another one under the same `seq_id`. */
  readonly fingerprint: string
  /**
   * Checks the request against the run and says how to do it. Runs at most once, changes nothing. A refusal answers the
   * request, a failure its future, at once; both use up the `seq_id`: what comes behind is not held up.
   */
  readonly prepare: () => Prepared
}

/**
 * What will be done when it is its turn.
 *
 * @since 0.1.0
 * @category models
 */
export type Operation = Effect.Effect<Result, Failure>

/**
 * @since 0.1.0
 * @category models
 */
export type Prepared = Either.Either<Operation, Refusal | Failure>

/**
 * The queue of a run.
 *
 * - An operation runs when everything below its `seq_id` has run, failed, been refused or been skipped.
 * - A `seq_id` that does not come is skipped when nothing was heard of the run for `gapTimeout` and no request body is
 *   being received, at the latest after 12 times as long; what waited behind it runs. If it comes after all it gets 409.
 *   Time in which the server itself was not there (suspended, its thread blocked) does not count.
 * - The same `seq_id` with the same content gives the request id that was given before, with another content 409.
 * - A failed operation settles its own future and nothing else.
 *
 * @since 0.1.0
 * @category models
 */
export interface OperationQueue {
  /** Takes an operation; gives its request id. */
  readonly submit: (submission: Submission) => Effect.Effect<string, Refusal>
  /** Operations that wait or run. */
  readonly size: Effect.Effect<number>
  /** Takes nothing more, does what it has, skipping gaps at once, and then ends. */
  readonly drain: Effect.Effect<void>
}

type Known =
  | { readonly _tag: "Accepted"; readonly requestId: string; readonly fingerprint: string }
  | { readonly _tag: "Refused"; readonly refusal: Refusal; readonly fingerprint: string }
  | { readonly _tag: "Skipped" }

interface Waiting {
  readonly seqId: number
  readonly requestId: string
  readonly endpoint: string
  readonly queuedAt: number
  readonly operation: Operation
}

/** How many `seq_id`s back a repeated request is recognised at least. */
const remembered = 16_384

/** A timer that is so many milliseconds late tells that the thread was not there. */
const noticeable = 50

/** How long after that a gap is waited for at least, in milliseconds. */
const grace = 1000

/** Longest time that other requests can put off the skipping of a gap, in multiples of `gapTimeout`. */
const longestWait = 12

/** Why an operation of a run did not end well, as its client is told. */
const failureOf = (cause: Cause.Cause<Failure>, modelId: string, endpoint: string): Effect.Effect<Failure> => {
  const failure = Cause.failureOption(cause)
  if (failure._tag === "Some") return Effect.succeed(failure.value)
  return Cause.isInterruptedOnly(cause)
    ? Effect.succeed({ error: `${endpoint} of ${modelId} was stopped: the run was closed`, category: "server" })
    : Effect.as(Effect.logError(`${endpoint} of ${modelId} failed unexpectedly`, cause), {
      error: `${endpoint} of ${modelId} failed inside the server`,
      category: "server"
    })
}

/**
 * A queue whose worker runs in the scope. `first` is the first `seq_id` to run: 0 when the run is still to be made.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function*(options: {
  readonly modelId: string
  readonly first: number
  readonly gapTimeout: Duration.Duration
  /** From this many waiting operations on, polls say `paused_capacity`; at eight times as many submissions get 429. */
  readonly limit: number
  readonly futures: typeof Futures.Service
  readonly uploads: Uploads
  readonly trace: Trace
  readonly log: typeof AppliedLog.Service
  readonly faults: typeof FaultInjector.Service
}): Effect.fn.Return<OperationQueue, never, Scope.Scope> {
  const { faults, futures, limit, log, modelId } = options
  const gapTimeout = Duration.toMillis(options.gapTimeout)
  const known = new Map<number, Known>()
  const waiting = new Map<number, Waiting>()
  const wake = Effect.unsafeMakeLatch()
  let next = options.first
  let highest = options.first - 1
  let draining = false
  let lastArrival = 0
  let blockedSince: number | undefined

  const queue: Effect.Effect<QueueState> = Effect.sync(() =>
    waiting.size > limit
      ? { state: "paused_capacity", reason: `${waiting.size} operations of ${modelId} are waiting` }
      : { state: "active" }
  )

  const remember = (seqId: number, entry: Known): void => {
    known.set(seqId, entry)
    if (known.size <= 4 * remembered) return
    for (const oldest of known.keys()) {
      known.delete(oldest)
      break
    }
  }

  const submit = (submission: Submission): Effect.Effect<string, Refusal> =>
    Effect.flatMap(monotonic, (now) =>
      Effect.suspend(() => {
        lastArrival = now
        const seqId = submission.seqId ?? highest + 1
        const before = known.get(seqId)
        if (before !== undefined) return repeated(before, seqId, submission.fingerprint)
        if (seqId < next) return Effect.fail(used(seqId))
        if (waiting.size >= 8 * limit) {
          return Effect.fail(tooMany(`${waiting.size} operations of ${modelId} are waiting; submit again later`, 5))
        }
        const full = futures.unsafeFull()
        if (full !== undefined) return Effect.fail(full)
        highest = Math.max(highest, seqId)
        const prepared = submission.prepare()
        const { fingerprint } = submission
        if (Either.isLeft(prepared) && prepared.left instanceof Refusal) {
          const refusal = prepared.left
          remember(seqId, { _tag: "Refused", refusal, fingerprint })
          return Effect.zipRight(wake.open, Effect.fail(refusal))
        }
        const requestId = `${modelId}:${seqId}`
        const accept = Effect.zipRight(futures.submit(requestId, queue), wake.open)
        remember(seqId, { _tag: "Accepted", requestId, fingerprint })
        if (Either.isLeft(prepared)) {
          // a refusal was sorted out above
          const failure = prepared.left as Failure
          return Effect.as(Effect.zipRight(accept, futures.settle(requestId, Either.left(failure))), requestId)
        }
        const { endpoint } = submission
        waiting.set(seqId, { seqId, requestId, endpoint, queuedAt: now, operation: prepared.right })
        return Effect.as(accept, requestId)
      })).pipe(Effect.uninterruptible)

  const repeated = (before: Known, seqId: number, fingerprint: string): Effect.Effect<string, Refusal> => {
    if (before._tag === "Skipped") {
      return Effect.fail(conflict(
        `seq_id ${seqId} of ${modelId} came too late: the operations behind it waited ${
          Duration.format(options.gapTimeout)
        } and then ran without it`
      ))
    }
    if (before.fingerprint !== fingerprint) return Effect.fail(used(seqId))
    return before._tag === "Accepted" ? Effect.succeed(before.requestId) : Effect.fail(before.refusal)
  }

  const used = (seqId: number): Refusal =>
    conflict(`seq_id ${seqId} of ${modelId} was already used for another request; ${highest + 1} is the next free one`)

  const run = Effect.fnUntraced(function*(entry: Waiting) {
    const exit = yield* Effect.exit(traced(options.trace, modelId, entry)(entry.operation))
    const outcome: Either.Either<Result, Failure> = Exit.isSuccess(exit)
      ? Either.right(exit.value)
      : Either.left(yield* failureOf(exit.cause, modelId, entry.endpoint))
    yield* log({
      modelId,
      seqId: entry.seqId,
      endpoint: entry.endpoint,
      requestId: entry.requestId,
      outcome: Either.isRight(outcome) ? "success" : "failure"
    })
    const injected = yield* faults({
      phase: "applied",
      endpoint: entry.endpoint,
      modelId,
      seqId: entry.seqId,
      requestId: entry.requestId
    })
    for (const fault of injected) if (fault._tag === "Delay") yield* Effect.sleep(fault.duration)
    yield* futures.settle(entry.requestId, outcome)
  })

  /** Milliseconds until the gap in front of the waiting operations may be skipped. */
  const gapLeft = (now: number): number => {
    blockedSince ??= now
    const quiet = gapTimeout - (now - lastArrival)
    const left = quiet <= 0 && options.uploads.inFlight > 0 ? gapTimeout : quiet
    return Math.min(left, blockedSince + longestWait * gapTimeout - now)
  }

  /** After an absence of our own, what came meanwhile is not read yet: it gets its time. */
  const awake = (due: number) =>
    Effect.map(monotonic, (now) => {
      const late = now - due
      if (late < noticeable) return
      lastArrival = now - gapTimeout + Math.min(gapTimeout, Math.max(grace, late))
      blockedSince = (blockedSince ?? now) + late
    })

  const skip = (): void => {
    const lowest = Math.min(...waiting.keys())
    // a client may start at any number: only a window of what was passed over is remembered as skipped
    for (let seqId = Math.max(next, lowest - remembered); seqId < lowest; seqId++) {
      if (!known.has(seqId)) remember(seqId, { _tag: "Skipped" })
    }
    next = lowest
  }

  const step = Effect.suspend((): Effect.Effect<boolean> => {
    wake.unsafeClose()
    const entry = waiting.get(next)
    if (entry !== undefined) {
      blockedSince = undefined
      return Effect.as(
        Effect.ensuring(
          run(entry),
          Effect.sync(() => {
            waiting.delete(entry.seqId)
            next = entry.seqId + 1
          })
        ),
        true
      )
    }
    if (known.has(next)) {
      next++
      return Effect.succeed(true)
    }
    if (waiting.size === 0) return draining ? Effect.succeed(false) : Effect.as(wake.await, true)
    if (draining) return Effect.as(Effect.sync(skip), true)
    return Effect.flatMap(monotonic, (now) => {
      const left = gapLeft(now)
      return left <= 0
        ? Effect.as(Effect.sync(skip), true)
        : Effect.as(Effect.raceFirst(wake.await, Effect.zipRight(Effect.sleep(left), awake(now + left))), true)
    })
  })

  const worker = yield* Effect.forkScoped(Effect.interruptible(Effect.iterate(true, {
    while: (more) => more,
    body: () => step
  })))

  yield* Effect.addFinalizer(() =>
    Effect.forEach([...waiting.values()], (entry) =>
      futures.settle(
        entry.requestId,
        Either.left({ error: `${entry.endpoint} of ${modelId} was not done: the run was closed`, category: "server" })
      ), { discard: true })
  )

  return {
    submit,
    size: Effect.sync(() => waiting.size),
    drain: Effect.suspend(() => {
      draining = true
      return Effect.zipRight(wake.open, worker.await)
    }).pipe(Effect.asVoid)
  }
})
