/** Futures over polling fibers. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import { pipeArguments } from "effect/Pipeable"
import * as Scope from "effect/Scope"
import type { QueueState } from "../../protocol/Futures.js"
import { ClientClosed, type TinkexError } from "../../TinkexError.js"
import type { Future, TypeId as FutureTypeId } from "../Future.js"
import * as Monotonic from "../monotonic.js"
import * as Reports from "../reporting/reports.js"
import type { Core } from "../service/core.js"
import { failureOf } from "./exits.js"
import * as Poll from "./poll.js"
import * as Polling from "./polling.js"

export const TypeId: FutureTypeId = Symbol.for("tinkex/Future") as FutureTypeId

const variance = { _A: (_: never) => _ }

/** One request that is polled, as its futures see it. */
interface Source {
  readonly polling: Polling.Polling
  readonly isDone: () => boolean
  /** Notes that somebody has looked at the result, or need not. */
  readonly see: () => void
  readonly isSeen: () => boolean
}

interface FutureImpl<A> extends Future<A> {
  readonly sources: ReadonlyArray<Source>
  readonly wait: Effect.Effect<A, TinkexError>
  readonly peek: Effect.Effect<Option.Option<Exit.Exit<A, TinkexError>>>
}

// every future is made by `make`
const impl = <A>(self: Future<A>): FutureImpl<A> => self as FutureImpl<A>

const Proto = {
  ...Inspectable.BaseProto,
  [TypeId]: variance,
  pipe() {
    return pipeArguments(this, arguments)
  },
  toJSON(this: FutureImpl<unknown>) {
    return {
      _id: "tinkex/Future",
      requests: this.sources.map((source) => ({
        requestId: source.polling.requestId,
        operation: source.polling.operation,
        polls: source.polling.polls,
        queueState: source.polling.queueState,
        done: source.isDone()
      }))
    }
  }
}

const make = <A>(fields: Omit<FutureImpl<A>, keyof Future<A>>): Future<A> =>
  Object.assign(Object.create(Proto), fields, {
    requestIds: fields.sources.map((source) => source.polling.requestId)
  })

/** Where the futures of one client are polled. */
export interface Home {
  /** Which client, for messages. */
  readonly client: string
  readonly scope: Scope.Scope
  /** Failures that nobody has looked at. */
  readonly unseen: Map<Source, string>
}

export const makeHome = (client: string): Effect.Effect<Home, never, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) => {
    const unseen = new Map<Source, string>()
    const report = Effect.forEach(unseen.values(), (text) => Effect.logWarning(text), { discard: true })
    return Effect.as(Scope.addFinalizer(scope, Effect.suspend(() => report)), { client, scope, unseen })
  })

/** Starts to poll an accepted request. */
export const start = <A>(
  core: Core,
  home: Home,
  accepted: Polling.Accepted<A>,
  onResult: (value: A, millis: number) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<Future<A>> =>
  Effect.map(Monotonic.millis, (now) => Polling.makePolling(accepted, now)).pipe(
    Effect.flatMap((polling) => {
      let deferred = Deferred.unsafeMake<A, TinkexError>(FiberId.none)
      let exit: Exit.Exit<A, TinkexError> | undefined
      const outstanding = { describe: (at: number) => Polling.describe(polling, at) }
      let observed = false
      const see = () => {
        observed = true
        home.unseen.delete(source)
      }
      const source: Source = { polling, isDone: () => exit !== undefined, see, isSeen: () => observed }
      const settle = (end: Exit.Exit<A, TinkexError>) =>
        Effect.suspend(() => {
          exit = end
          core.outstanding.delete(outstanding)
          const failure = failureOf(end)
          if (failure !== undefined && !observed && failure._tag !== "ClientClosed") {
            home.unseen.set(
              source,
              `nobody looked at the result of ${accepted.operation}, which failed: ${failure.message}`
            )
          }
          return Effect.zipRight(
            failure === undefined ? Effect.void : Reports.failed(core.reporter, failure),
            Deferred.done(deferred, end)
          )
        })
      const result = Effect.tap(
        Poll.poll(core, accepted, polling),
        (value) => Effect.flatMap(Monotonic.millis, (end) => onResult(value, end - accepted.startedAt))
      )
      // started uninterruptibly: whoever waits gets an answer, also when the client goes away at this moment
      const run = Effect.matchCauseEffect(Effect.interruptible(result), {
        onFailure: (cause) =>
          settle(
            Cause.isInterruptedOnly(cause)
              ? Exit.fail(
                new ClientClosed({ operation: accepted.operation, client: home.client, certainlyNotSent: false })
              )
              : Exit.failCause(cause)
          ),
        onSuccess: (value) => settle(Exit.succeed(value))
      })
      const launch = Effect.uninterruptible(Effect.suspend(() => {
        core.outstanding.add(outstanding)
        return Effect.forkIn(run, home.scope)
      }))
      /** A failure that somebody has seen, and that says nothing about the request itself, is not the end: who waits asks again. */
      const relaunch = Effect.suspend(() => {
        const failure = exit === undefined ? undefined : failureOf(exit)
        if (failure === undefined || !observed || Polling.isLast(failure)) return Effect.void
        exit = undefined
        observed = false
        deferred = Deferred.unsafeMake(FiberId.none)
        return Effect.asVoid(launch)
      })
      const wait = Effect.onExit(Effect.suspend(() => Deferred.await(deferred)), (end) =>
        Effect.sync(() => {
          if (exit !== undefined || !Exit.isInterrupted(end)) see()
        }))
      return Effect.as(
        launch,
        make<A>({
          sources: [source],
          wait: Effect.zipRight(relaunch, wait),
          peek: Effect.sync(() => {
            if (exit === undefined) return Option.none()
            see()
            return Option.some(exit)
          })
        })
      )
    })
  )

export const wait = <A>(self: Future<A>): Effect.Effect<A, TinkexError> => impl(self).wait

export const peek = <A>(self: Future<A>): Effect.Effect<Option.Option<Exit.Exit<A, TinkexError>>> => impl(self).peek

export const queueState = (
  self: Future<unknown>
): Effect.Effect<{ readonly state: QueueState; readonly reason: string | undefined }> =>
  Effect.sync(() => {
    const { sources } = impl(self)
    const first = sources.find((source) => !source.isDone()) ?? sources[0]
    return { state: first?.polling.queueState ?? "unknown", reason: first?.polling.reason }
  })

export const age = (self: Future<unknown>): Effect.Effect<Duration.Duration> =>
  Effect.map(
    Monotonic.millis,
    (now) => Duration.millis(now - (impl(self).sources[0]?.polling.acceptedAt ?? now))
  )

export const map = <A, B>(self: Future<A>, f: (a: A) => B): Future<B> => {
  const { peek, sources, wait } = impl(self)
  let memo: { readonly value: B } | undefined
  const once = (a: A): B => (memo ??= { value: f(a) }).value
  return make({ sources, wait: Effect.map(wait, once), peek: Effect.map(peek, Option.map(Exit.map(once))) })
}

export const all = <A>(futures: ReadonlyArray<Future<A>>): Future<ReadonlyArray<A>> => {
  const impls = futures.map(impl)
  const sources = impls.flatMap((future) => future.sources)
  // who sees one failure need not be told of the others
  const seen = <B>(failed: B): B => {
    for (const source of sources) source.see()
    return failed
  }
  return make<ReadonlyArray<A>>({
    sources,
    wait: Effect.forEach(impls, (future) => future.wait, { concurrency: "unbounded" }).pipe(Effect.mapError(seen)),
    peek: Effect.map(Effect.forEach(impls, (future) => future.peek), (exits) => {
      const values: Array<A> = []
      for (const exit of exits) {
        if (Option.isNone(exit)) continue
        if (Exit.isFailure(exit.value)) return Option.some(seen(Exit.failCause(exit.value.cause)))
        values.push(exit.value.value)
      }
      return values.length < exits.length ? Option.none() : Option.some(Exit.succeed(values))
    })
  })
}

/** Whether somebody has waited for the result, or looked at it, when it was there. */
export const wasSeen = (self: Future<unknown>): boolean => impl(self).sources.every((source) => source.isSeen())
