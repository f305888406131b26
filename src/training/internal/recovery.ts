/** Monitor and executor of recoveries. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Cause from "effect/Cause"
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
import type { Requirements } from "../../client/HttpTransport.js"
import * as HttpTransport from "../../client/HttpTransport.js"
import * as Rest from "../../client/RestClient.js"
import type { SamplingRegistry } from "../../client/SamplingRegistry.js"
import * as Service from "../../client/ServiceClient.js"
import type * as TrainingClient from "../../client/TrainingClient.js"
import type { Checkpoint } from "../../protocol/Checkpoint.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import { InvalidInput, type TinkexError } from "../../TinkexError.js"
import type { Tokenizers } from "../../tokenizer/Tokenizers.js"
import type { Connection, Incarnation, OpenPolicy, Policy, Recovery, RecoveryEvent, Source } from "../Recovery.js"
import { RecoveryError } from "./recoveryError.js"

const defaults = {
  pollInterval: Duration.seconds(30),
  maxAttempts: 3,
  backoff: Duration.seconds(5),
  backoffCap: Duration.minutes(1)
}

type State =
  | { readonly _tag: "Fresh" }
  | { readonly _tag: "Working"; readonly incarnation: Incarnation }
  | { readonly _tag: "Recovering" }
  | { readonly _tag: "Lost"; readonly error: RecoveryError }

/**
 * What a failure says of a checkpoint: that it is at fault; that it may be, or else that the service has lost the session
 * or the request meanwhile, which another session will tell; nothing.
 */
const blames = (error: TinkexError): "surely" | "perhaps" | "not" => {
  switch (error._tag) {
    case "BadRequest":
    case "InvalidInput":
    case "RequestFailed":
      return "surely"
    case "Conflict":
    case "NotFound":
    case "PermissionDenied":
      return "perhaps"
    default:
      return "not"
  }
}

/** The checkpoints that are passed over. */
const makeRefusals = () => {
  const refused = new Set<string>()
  const doubted = new Set<string>()
  return {
    has: (path: string): boolean => refused.has(path),
    note: (path: string, error: TinkexError): void => {
      const blame = blames(error)
      if (blame === "surely" || (blame === "perhaps" && doubted.has(path))) refused.add(path)
      if (blame === "perhaps") doubted.add(path)
    }
  }
}

/** Failures that no waiting and no other checkpoint will help. */
const isHopeless = (error: TinkexError): boolean =>
  error._tag === "Unauthorized" || error._tag === "ConfigurationError" || error._tag === "BillingPaused"

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

/** What differs between a client that is watched and one that is opened. */
interface Setup {
  readonly policy: Policy
  readonly first: Incarnation | undefined
  /** What to go back to, the best first. `lineage`: the runs so far, the newest last. */
  readonly sources: (
    lineage: ReadonlyArray<string>,
    rest: Rest.Client
  ) => Effect.Effect<ReadonlyArray<Source>, TinkexError>
  /** For the first client, and for each that follows one that was lost. */
  readonly connect: Effect.Effect<Connection, TinkexError, Scope.Scope>
  readonly isLost: (error: unknown, incarnation: Incarnation) => Effect.Effect<boolean>
  /** Whether what a session is refused says something about the checkpoint, and not about the session. */
  readonly judges: (service: Service.Client) => boolean
}

const engine = ({ connect, first, isLost, judges, policy, sources }: Setup) =>
  Effect.gen(function*() {
    const { backoff, backoffCap, maxAttempts, pollInterval } = yield* checked(policy)
    const scope = yield* Effect.scope
    const hub = yield* Effect.acquireRelease(PubSub.sliding<RecoveryEvent>(1024), PubSub.shutdown)
    const state = yield* SubscriptionRef.make<State>(
      first === undefined ? { _tag: "Fresh" } : { _tag: "Working", incarnation: first }
    )
    const emit = (event: RecoveryEvent) => Effect.asVoid(PubSub.publish(hub, event))
    /** Runs that this one goes back to: what the newest has not saved, an older one may have. */
    const lineage: Array<string> = first === undefined ? [] : [first.client.modelId]
    let owned: Scope.CloseableScope | undefined
    let checking: Deferred.Deferred<boolean, RecoveryError> | undefined

    /** An effect in a scope that the next recovery closes, and that is closed at once if it fails. */
    const inOwnScope = <A, E>(make: Effect.Effect<A, E, Scope.Scope>) =>
      Effect.uninterruptibleMask((interruptible) =>
        Effect.gen(function*() {
          const own = yield* Scope.fork(scope, ExecutionStrategy.sequential)
          const made = yield* interruptible(Scope.extend(make, own)).pipe(
            Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(own, exit))
          )
          return { made, own }
        })
      )

    const recover = (broken: Incarnation | undefined): Effect.Effect<void, RecoveryError> =>
      Effect.gen(function*() {
        const runId = broken?.client.modelId ?? ""
        yield* SubscriptionRef.set(state, { _tag: "Recovering" })
        if (broken !== undefined) yield* emit({ _tag: "Detected", runId })
        const refusals = makeRefusals()
        let last: TinkexError | undefined
        let attempts = 0
        for (let attempt = 1; attempt <= maxAttempts; attempt++) {
          if (attempt > 1) yield* Effect.sleep(Math.min(backoffCap, backoff * 2 ** (attempt - 2)))
          yield* emit({ _tag: "Started", runId, attempt })
          const done = yield* Effect.either(inOwnScope(Effect.gen(function*() {
            const { rest, service } = yield* connect
            const candidates = (yield* sources(lineage, rest)).filter(({ path }) => !refusals.has(path))
            const chosen = candidates[0]
            if (chosen === undefined) return undefined
            yield* emit({ _tag: "CheckpointSelected", runId, attempt, path: chosen.path })
            const client = yield* Effect.tapError(chosen.open(service), (error) =>
              Effect.sync(() => {
                if (judges(service)) refusals.note(chosen.path, error)
              }))
            yield* emit({ _tag: "ClientCreated", runId, attempt, newRunId: client.modelId })
            return { client, rest, service, restoredFrom: chosen.path }
          })))
          if (done._tag === "Left") {
            last = done.left
            attempts = attempt
            yield* emit({ _tag: "Failed", runId, attempt, error: last })
            if (isHopeless(last)) break
            continue
          }
          const { made, own } = done.right
          if (made === undefined) {
            yield* Scope.close(own, Exit.void)
            if (last === undefined) {
              return yield* new RecoveryError({ runId, attempts: attempt, reason: "NoCheckpoint" })
            }
            break
          }
          const before = owned
          owned = own
          lineage.push(made.client.modelId)
          if (before !== undefined) yield* Scope.close(before, Exit.void)
          yield* SubscriptionRef.set(state, {
            _tag: "Working",
            incarnation: { ...made, generation: broken === undefined ? 0 : broken.generation + 1 }
          })
          return yield* emit({ _tag: "Completed", runId, newRunId: made.client.modelId, path: made.restoredFrom })
        }
        yield* emit({ _tag: "Exhausted", runId, attempts })
        return yield* new RecoveryError({ runId, attempts, reason: "Exhausted", cause: last })
      }).pipe(Effect.tapError((error) => SubscriptionRef.set(state, { _tag: "Lost", error })))

    /** One at a time: who asks while one is under way gets its answer. It goes on when the one who asked goes away. */
    const alone = (look: Effect.Effect<boolean, RecoveryError>): Effect.Effect<boolean, RecoveryError> =>
      Effect.suspend(() => {
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

    const whenWorking = (then: (incarnation: Incarnation) => Effect.Effect<boolean, RecoveryError>) =>
      alone(Effect.flatMap(SubscriptionRef.get(state), (now) => {
        switch (now._tag) {
          case "Lost":
            return Effect.fail(now.error)
          case "Recovering":
            return Effect.succeed(true)
          case "Fresh":
            return Effect.succeed(false)
          case "Working":
            return then(now.incarnation)
        }
      }))

    const check = whenWorking((incarnation) => {
      const runId = incarnation.client.modelId
      return Effect.matchEffect(incarnation.rest.getTrainingRun(runId), {
        onFailure: (error) => Effect.as(emit({ _tag: "PollError", runId, error }), false),
        onSuccess: ({ corrupted }) => corrupted ? Effect.as(recover(incarnation), true) : Effect.succeed(false)
      })
    })

    /** Restores what a program found lost, unless that was done already. */
    const replace = (lost: Incarnation) =>
      whenWorking((now) => now.generation === lost.generation ? Effect.as(recover(now), true) : Effect.succeed(true))

    const opened = Effect.flatMap(SubscriptionRef.get(state), (now) =>
      now._tag === "Fresh" ? alone(Effect.as(recover(undefined), true)) : Effect.void)

    const settled: Effect.Effect<Incarnation, RecoveryError> = Effect.zipRight(
      opened,
      state.changes.pipe(
        Stream.filter((now) =>
          now._tag === "Working" || now._tag === "Lost"
        ),
        Stream.runHead,
        Effect.flatMap(Option.match({
          onNone: () => Effect.never,
          onSome: (now) =>
            now._tag === "Working" ? Effect.succeed(now.incarnation) : now._tag === "Lost"
              ? Effect.fail(now.error)
              : Effect.never
        }))
      )
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
          // a failure that interrupted what ran beside it is a failure
          if (Exit.isSuccess(end.value) || Cause.isInterruptedOnly(end.value.cause)) return end.value
          const failure = end.value
          const lost = Effect.flatMap(
            Cause.failureOption(failure.cause).pipe(Option.match({
              onNone: () => Effect.succeed(false),
              onSome: (error) => isLost(error, incarnation)
            })),
            // the program may have met the corruption before the monitor did
            (lost) => lost ? replace(incarnation) : check
          )
          return Effect.flatMap(lost, (again) => again ? once : failure)
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

const fromState = (path: string, optimizer: boolean): Source => ({
  path,
  open: (service) =>
    optimizer ? service.createTrainingClientFromStateWithOptimizer(path) : service.createTrainingClientFromState(path)
})

export const make = (
  client: TrainingClient.Client,
  policy: Policy = {}
): Effect.Effect<Recovery, InvalidInput, Service.ServiceClient | Rest.RestClient | Scope.Scope> =>
  Effect.gen(function*() {
    const service = yield* Service.ServiceClient
    const rest = yield* Rest.RestClient
    const { optimizer, path } = yield* checked(policy)
    return yield* engine({
      policy,
      first: { client, service, rest, generation: 0, restoredFrom: undefined },
      connect: Effect.succeed({ service, rest }),
      isLost: () => Effect.succeed(false),
      judges: () => true,
      sources: (lineage) =>
        path !== undefined
          ? Effect.succeed([fromState(path, optimizer)])
          : Effect.gen(function*() {
            const found: Array<Source> = []
            for (const runId of lineage.toReversed()) {
              const all = Array.from(yield* Stream.runCollect(rest.listCheckpoints(runId)))
              const training = all.filter(({ checkpointType }) => checkpointType === "training").sort(newestFirst)
              found.push(...training.map(({ tinkerPath }) => fromState(tinkerPath, optimizer)))
            }
            return found
          })
    })
  })

export const open = (
  policy: OpenPolicy
): Effect.Effect<
  Recovery,
  InvalidInput,
  Service.ServiceClient | HttpClient.HttpClient | Requirements | SamplingRegistry | Tokenizers | Scope.Scope
> =>
  Effect.gen(function*() {
    const first = yield* Service.ServiceClient
    const context = yield* Effect.context<HttpClient.HttpClient | Requirements | SamplingRegistry | Tokenizers>()
    const restOf = ({ transport }: Service.Client) =>
      Effect.provideService(Rest.make, HttpTransport.HttpTransport, transport)
    let fresh = true
    const session = Effect.suspend(() => {
      if (!fresh) return Service.make(first.settings)
      fresh = false
      return Effect.succeed(first)
    })
    return yield* engine({
      policy,
      first: undefined,
      // what was lost may have taken its session along: each client after the first has one of its own
      connect: Effect.provide(
        Effect.flatMap(session, (service) => Effect.map(restOf(service), (rest) => ({ service, rest }))),
        context
      ),
      isLost: policy.isLost,
      // the session that was given may be over; the next attempt has one of its own
      judges: (service) => service !== first,
      sources: (_, rest) => policy.sources(rest)
    })
  })
