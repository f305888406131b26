/** Effects as promises, streams as async iterables: run in a scope, given up by a signal, rejecting with the error itself. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ClientClosed } from "../TinkexError.js"

/** How calls are run: with the services of a runtime, and no longer than a scope is open. */
export interface Caller<R> {
  readonly scope: Scope.CloseableScope
  /** Runs an effect from within the call, so that operations are handed in as they are called. */
  readonly run: <A, E>(operation: string, effect: Effect.Effect<A, E, R>, signal?: AbortSignal) => Promise<A>
  readonly iterate: <A, E>(
    operation: string,
    stream: Stream.Stream<A, E, R>,
    signal?: AbortSignal
  ) => AsyncIterableIterator<A>
  /** A caller of another client, whose scope closes with this one's, or before. */
  readonly child: (client: string) => Caller<R>
  /** Closes the scope: what still runs in it is interrupted, and what it holds is released. Again, it does nothing. */
  readonly close: () => Promise<void>
}

/** What a call that did not succeed rejects with: the failure itself, the reason of the signal, or that the client is closed. */
const reasonOf = (cause: Cause.Cause<unknown>, closed: ClientClosed, signal: AbortSignal | undefined): unknown => {
  const failure = Cause.failureOption(cause)
  if (Option.isSome(failure)) return failure.value
  if (!Cause.isInterruptedOnly(cause)) return Cause.squash(cause)
  return signal?.aborted === true ? signal.reason : closed
}

/** The next piece of a stream, `undefined` at its end. */
const untilEnd = <A, E, R>(pull: Effect.Effect<A, Option.Option<E>, R>): Effect.Effect<A | undefined, E, R> =>
  Effect.catchAll(
    pull,
    Option.match({ onNone: () => Effect.succeed(undefined), onSome: (error) => Effect.fail(error) })
  )

export const make = <R>(runtime: Runtime.Runtime<R>, scope: Scope.CloseableScope, client: string): Caller<R> => {
  const fork = Runtime.runFork(runtime)
  let open = true
  Effect.runSync(Scope.addFinalizer(
    scope,
    Effect.sync(() => {
      open = false
    })
  ))
  const closed = (operation: string, certainlyNotSent: boolean) =>
    new ClientClosed({ operation, client, certainlyNotSent })

  const run: Caller<R>["run"] = (operation, effect, signal) =>
    new Promise((resolve, reject) => {
      if (!open) return reject(closed(operation, true))
      if (signal?.aborted === true) return reject(signal.reason)
      const fiber = fork(effect, { scope })
      const stop = () => fiber.unsafeInterruptAsFork(FiberId.none)
      signal?.addEventListener("abort", stop)
      fiber.addObserver((exit) => {
        signal?.removeEventListener("abort", stop)
        if (Exit.isSuccess(exit)) resolve(exit.value)
        else reject(reasonOf(exit.cause, closed(operation, false), signal))
      })
    })

  const child = (name: string) => make(runtime, Effect.runSync(Scope.fork(scope, ExecutionStrategy.sequential)), name)

  async function* iterate<A, E>(operation: string, stream: Stream.Stream<A, E, R>, signal?: AbortSignal) {
    const own = child(client)
    try {
      const next = untilEnd(await own.run(operation, Scope.extend(Stream.toPull(stream), own.scope), signal))
      for (;;) {
        const piece = await own.run(operation, next, signal)
        if (piece === undefined) return
        yield* piece
      }
    } finally {
      await own.close()
    }
  }

  return { scope, run, iterate, child, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}
