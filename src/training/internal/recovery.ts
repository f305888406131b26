/** Monitor and executor of recoveries. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { RestClient } from "../../client/RestClient.js"
import { ServiceClient } from "../../client/ServiceClient.js"
import type * as TrainingClient from "../../client/TrainingClient.js"
import type { Checkpoint } from "../../protocol/Checkpoint.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { InvalidInput, type TinkexError } from "../../TinkexError.js"
import type { Incarnation, Policy, Recovery, RecoveryEvent } from "../Recovery.js"
import { RecoveryError } from "./recoveryError.js"

const defaults = {
  pollInterval: Duration.seconds(30),
  maxAttempts: 3,
  backoff: Duration.seconds(5),
  backoffCap: Duration.minutes(1)
}

type State =
  | { readonly _tag: "Working"; readonly incarnation: Incarnation }
  | { readonly _tag: "Recovering" }
  | { readonly _tag: "Lost"; readonly error: RecoveryError }

/** Failures that the next attempt would meet again: the checkpoint itself is at fault. */
const isFinal = (error: TinkexError): boolean => {
  switch (error._tag) {
    case "BadRequest":
    case "Conflict":
    case "InvalidInput":
    case "NotFound":
    case "PermissionDenied":
    case "RequestFailed":
      return true
    default:
      return false
  }
}

const newestFirst = (a: Checkpoint, b: Checkpoint): number => b.time.epochMillis - a.time.epochMillis

const checked = (policy: Policy) =>
  Effect.gen(function*() {
    const maxAttempts = policy.maxAttempts ?? defaults.maxAttempts
    const pollInterval = Duration.decode(policy.pollInterval ?? defaults.pollInterval)
    if (!Number.isSafeInteger(maxAttempts) || maxAttempts < 1) {
      return yield* new InvalidInput({
        field: "maxAttempts",
        expected: "a whole number from 1",
        actual: "another number"
      })
    }
    if (Duration.lessThanOrEqualTo(pollInterval, Duration.zero)) {
      return yield* new InvalidInput({ field: "pollInterval", expected: "a time above 0", actual: "none" })
    }
    const path = policy.checkpoint === undefined || policy.checkpoint === "latest" ? undefined : policy.checkpoint.path
    if (path !== undefined) {
      const { kind } = yield* TinkerPath.parse(path, "checkpoint.path")
      if (kind !== "weights") {
        return yield* new InvalidInput({
          field: "checkpoint.path",
          expected: "tinker://<training run>/weights/<name>",
          actual: `one of ${kind}`
        })
      }
    }
    return {
      maxAttempts,
      pollInterval,
      path,
      backoff: Duration.toMillis(policy.backoff ?? defaults.backoff),
      backoffCap: Duration.toMillis(policy.backoffCap ?? defaults.backoffCap),
      optimizer: policy.restoreOptimizer ?? true
    }
  })

export const make = (
  client: TrainingClient.Client,
  policy: Policy = {}
): Effect.Effect<Recovery, InvalidInput, ServiceClient | RestClient | Scope.Scope> =>
  Effect.gen(function*() {
    const { backoff, backoffCap, maxAttempts, optimizer, path, pollInterval } = yield* checked(policy)
    const service = yield* ServiceClient
    const rest = yield* RestClient
    const scope = yield* Effect.scope
    const hub = yield* Effect.acquireRelease(PubSub.sliding<RecoveryEvent>(1024), PubSub.shutdown)
    const state = yield* SubscriptionRef.make<State>({
      _tag: "Working",
      incarnation: { client, generation: 0, restoredFrom: undefined }
    })
    const emit = (event: RecoveryEvent) => Effect.asVoid(PubSub.publish(hub, event))
    /** Runs that this one goes back to: what the newest has not saved, an older one may have. */
    const lineage: Array<string> = [client.modelId]
    let owned: Scope.CloseableScope | undefined
    let checking: Deferred.Deferred<boolean, RecoveryError> | undefined

    const checkpoints: Effect.Effect<ReadonlyArray<string>, TinkexError> = path !== undefined
      ? Effect.succeed([path])
      : Effect.gen(function*() {
        const found: Array<string> = []
        for (const runId of lineage.toReversed()) {
          const all = Array.from(yield* Stream.runCollect(rest.listCheckpoints(runId)))
          const training = all.filter(({ checkpointType }) => checkpointType === "training").sort(newestFirst)
          found.push(...training.map(({ tinkerPath }) => tinkerPath))
        }
        return found
      })

    /** A client from a checkpoint, in a scope that the next recovery closes. */
    const restore = (path: string) =>
      Effect.uninterruptibleMask((interruptible) =>
        Effect.gen(function*() {
          const own = yield* Scope.fork(scope, ExecutionStrategy.sequential)
          const made = yield* interruptible(Scope.extend(
            optimizer
              ? service.createTrainingClientFromStateWithOptimizer(path)
              : service.createTrainingClientFromState(path),
            own
          )).pipe(Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(own, exit)))
          return { made, own }
        })
      )

    const recover = (broken: Incarnation): Effect.Effect<void, RecoveryError> =>
      Effect.gen(function*() {
        const runId = broken.client.modelId
        yield* SubscriptionRef.set(state, { _tag: "Recovering" })
        yield* emit({ _tag: "Detected", runId })
        const refused = new Set<string>()
        let last: TinkexError | undefined
        for (let attempt = 1; attempt <= maxAttempts; attempt++) {
          if (attempt > 1) yield* Effect.sleep(Math.min(backoffCap, backoff * 2 ** (attempt - 2)))
          yield* emit({ _tag: "Started", runId, attempt })
          const done = yield* Effect.either(Effect.gen(function*() {
            const candidates = (yield* checkpoints).filter((candidate) => !refused.has(candidate))
            const chosen = candidates[0]
            if (chosen === undefined) return undefined
            yield* emit({ _tag: "CheckpointSelected", runId, attempt, path: chosen })
            const { made, own } = yield* Effect.tapError(restore(chosen), (error) =>
              Effect.sync(() => {
                if (isFinal(error)) refused.add(chosen)
              }))
            yield* emit({ _tag: "ClientCreated", runId, attempt, newRunId: made.modelId })
            return { made, own, chosen }
          }))
          if (done._tag === "Left") {
            last = done.left
            yield* emit({ _tag: "Failed", runId, attempt, error: last })
            continue
          }
          if (done.right === undefined) {
            if (last === undefined) {
              return yield* new RecoveryError({ runId, attempts: attempt, reason: "NoCheckpoint" })
            }
            break
          }
          const { chosen, made, own } = done.right
          const before = owned
          owned = own
          lineage.push(made.modelId)
          if (before !== undefined) yield* Scope.close(before, Exit.void)
          yield* SubscriptionRef.set(state, {
            _tag: "Working",
            incarnation: { client: made, generation: broken.generation + 1, restoredFrom: chosen }
          })
          return yield* emit({ _tag: "Completed", runId, newRunId: made.modelId, path: chosen })
        }
        yield* emit({ _tag: "Exhausted", runId, attempts: maxAttempts })
        return yield* new RecoveryError({ runId, attempts: maxAttempts, reason: "Exhausted", cause: last })
      }).pipe(Effect.tapError((error) => SubscriptionRef.set(state, { _tag: "Lost", error })))

    const look: Effect.Effect<boolean, RecoveryError> = Effect.flatMap(SubscriptionRef.get(state), (now) => {
      if (now._tag === "Lost") return Effect.fail(now.error)
      if (now._tag === "Recovering") return Effect.succeed(true)
      const { incarnation } = now
      const runId = incarnation.client.modelId
      return Effect.matchEffect(rest.getTrainingRun(runId), {
        onFailure: (error) => Effect.as(emit({ _tag: "PollError", runId, error }), false),
        onSuccess: ({ corrupted }) => corrupted ? Effect.as(recover(incarnation), true) : Effect.succeed(false)
      })
    })

    /** One at a time: who asks while one is under way gets its answer. It goes on when the one who asked goes away. */
    const check: Effect.Effect<boolean, RecoveryError> = Effect.suspend(() => {
      if (checking !== undefined) return Deferred.await(checking)
      return Effect.flatMap(Effect.fiberId, (id) => {
        const mine = Deferred.unsafeMake<boolean, RecoveryError>(id)
        checking = mine
        return Effect.interruptible(look).pipe(
          Effect.onExit(() =>
            Effect.sync(() => {
              checking = undefined
            })
          ),
          Effect.intoDeferred(mine),
          Effect.forkIn(scope),
          Effect.zipRight(Deferred.await(mine))
        )
      })
    })

    const settled: Effect.Effect<Incarnation, RecoveryError> = state.changes.pipe(
      Stream.filter((now) => now._tag !== "Recovering"),
      Stream.runHead,
      Effect.flatMap(Option.match({
        onNone: () => Effect.never,
        onSome: (now) =>
          now._tag === "Working" ? Effect.succeed(now.incarnation) : now._tag === "Lost"
            ? Effect.fail(now.error)
            : Effect.never
      }))
    )

    /** Waits until a client is no longer the one that works. */
    const replaced = ({ generation }: Incarnation): Effect.Effect<void> =>
      state.changes.pipe(
        Stream.filter((now) => now._tag !== "Working" || now.incarnation.generation !== generation),
        Stream.runHead,
        Effect.asVoid
      )

    const use: Recovery["use"] = <A, E, R>(program: (incarnation: Incarnation) => Effect.Effect<A, E, R>) => {
      const once: Effect.Effect<A, E | RecoveryError, R> = Effect.flatMap(settled, (incarnation) =>
        Effect.raceFirst(
          Effect.map(Effect.exit(program(incarnation)), Option.some),
          Effect.as(replaced(incarnation), Option.none<Exit.Exit<A, E>>())
        ).pipe(Effect.flatMap((end) => {
          if (Option.isNone(end)) return once
          if (Exit.isSuccess(end.value) || Exit.isInterrupted(end.value)) return end.value
          const failure = end.value
          // the program may have met the corruption before the monitor did
          return Effect.flatMap(check, (corrupted) => corrupted ? once : failure)
        })))
      return once
    }

    yield* Effect.sleep(pollInterval).pipe(
      Effect.zipRight(check),
      Effect.forever,
      // lost: whoever uses the run is told
      Effect.ignore,
      Effect.interruptible,
      Effect.forkScoped
    )
    return {
      current: settled,
      use,
      check,
      events: Effect.map(
        PubSub.subscribe(hub),
        (subscription) => Stream.fromQueue(subscription, { shutdown: false })
      )
    }
  })
