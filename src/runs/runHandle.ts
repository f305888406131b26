/** Runs that are open. */
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Path from "@effect/platform/Path"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { pipeArguments } from "effect/Pipeable"
import * as PubSub from "effect/PubSub"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Metrics } from "../observability/Metrics.js"
import { InvalidInput } from "../protocol/InvalidInput.js"
import { ClientClosed } from "../TinkexError.js"
import * as Recovery from "../training/Recovery.js"
import * as Budget from "./Budget.js"
import * as Cost from "./Cost.js"
import { DirectoryLock } from "./DirectoryLock.js"
import { estimate } from "./estimate.js"
import { follow } from "./followers.js"
import { configFile, differences, unaccepted } from "./identity.js"
import * as Journal from "./Journal.js"
import { isLoss } from "./lost.js"
import type { Needs, OpenOptions, Run, RunEvent, TypeId as RunTypeId } from "./Run.js"
import { makeCore, type RunCore } from "./runCore.js"
import * as RunDirectory from "./RunDirectory.js"
import { type RunError, RunMismatch, RunStorageError } from "./RunError.js"
import { apply, candidates, empty, type Entry, isComplete } from "./runState.js"
import { reconcile, sourcesOf } from "./sources.js"
import { trainLoop } from "./trainLoop.js"
import { makePlan, type Plan } from "./trainPlan.js"

export const TypeId: RunTypeId = Symbol.for("tinkex/Run") as RunTypeId

const Proto = {
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  }
}

const checkedSeed = (seed: number) =>
  Number.isSafeInteger(seed)
    ? Effect.succeed(seed)
    : new InvalidInput({ field: "seed", expected: "a whole number", actual: String(seed) })

/** Files, lock and journal; refuses what does not belong together before anything is changed. */
const openCore = (directory: string, options: OpenOptions) =>
  Effect.gen(function*() {
    const { accept, config } = options
    const seed = yield* checkedSeed(options.seed ?? 0)
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const writing = Effect.mapError((cause: RunStorageError["cause"]) =>
      new RunStorageError({ doing: "write", file: directory, cause })
    )
    yield* writing(fs.makeDirectory(directory, { recursive: true }))
    yield* (yield* DirectoryLock)(directory)
    yield* RunDirectory.truncateRows(path.join(directory, RunDirectory.files.checkpoints), Number.POSITIVE_INFINITY)
    const journal = yield* Journal.open<Entry, ReturnType<typeof empty>>(
      path.join(directory, RunDirectory.files.journal),
      empty(),
      apply
    )
    const { state } = journal
    const settings: Journal.Json = { ...config, seed }
    const found = state.settings === undefined ? [] : differences(state.settings, settings)
    const refused = unaccepted(found, accept)
    if (refused.length > 0) return yield* new RunMismatch({ directory, differences: refused })
    const configPath = path.join(directory, RunDirectory.files.config)
    if (found.length > 0 || (yield* RunDirectory.config(directory)) === undefined) {
      yield* RunDirectory.replaceFile(configPath, `${JSON.stringify(configFile(config, seed, directory), null, 2)}\n`)
    }
    const reach = yield* Effect.context<FileSystem.FileSystem | Path.Path | HttpClient.HttpClient>()
    const prices = yield* Cost.Prices
    const given = yield* Effect.serviceOption(Budget.Budget)
    const rates = Cost.ratesOf(prices, config.baseModel)
    if (Option.isSome(given) && given.value.limit.usd !== undefined && rates === undefined) {
      return yield* new InvalidInput({
        field: "budget.usd",
        expected: "a model whose price is known",
        actual: Cost.noteOf(prices, config.baseModel)
      })
    }
    const core = yield* makeCore({
      directory,
      seed,
      state,
      journal,
      hub: yield* Effect.acquireRelease(PubSub.sliding<RunEvent>(1024), PubSub.shutdown),
      rates,
      metrics: yield* Effect.serviceOption(Metrics),
      follow: (start) =>
        Effect.provide(
          follow(path.join(directory, RunDirectory.files.metrics), options.sinks ?? [], {
            directory,
            name: path.basename(directory),
            start,
            config: configFile(config, seed, directory)
          }),
          reach
        ),
      budget: Option.isNone(given) ? undefined : yield* Budget.makeIn(directory, given.value.limit)
    })
    yield* core.record(
      ...(found.length === 0 ? [] : [{ t: "accepted" as const, settings: found.map(({ setting }) => setting) }]),
      { t: "opened", at: yield* Clock.currentTimeMillis, attempt: state.attempt + 1, settings }
    )
    return core
  })

/** The client that works, restored when it is lost, and where its weights are. */
const openClient = (core: RunCore, options: OpenOptions) =>
  Effect.gen(function*() {
    const { state } = core
    const attempts = options.recovery?.maxAttempts ?? 3
    /** Whether a checkpoint of so many updates can be gone on from. */
    let complete = (_updates: number): boolean => true
    let place: { readonly generation: number; readonly updates: number | undefined } | undefined
    let furthest = 0
    let stalled = 0
    let reconciled = false
    const recovery = yield* Recovery.open({
      ...options.recovery,
      // without its journal a run is nothing
      sources: (rest) =>
        Effect.catchTag(
          sourcesOf(core, options.config, (updates) => complete(updates))(rest),
          "RunStorageError",
          Effect.die
        ),
      // what fails again and again without any progress is told to the caller
      isLost: (error) =>
        Effect.sync(() => {
          if (!isLoss(error)) return false
          stalled = state.applied > furthest ? 1 : stalled + 1
          furthest = Math.max(furthest, state.applied)
          return stalled <= attempts
        })
    })
    const events = yield* recovery.events
    yield* Effect.forkScoped(Stream.runForEach(events, (event) => core.emit({ _tag: "Recovery", event })))

    /** Updates that the weights of a client hold. One that failed on its way counts as lost. */
    const whereIs = (incarnation: Recovery.Incarnation) =>
      Effect.gen(function*() {
        const { client, generation, restoredFrom, service } = incarnation
        if (place?.generation !== generation) {
          const from = state.checkpoints.find(({ path }) => path === restoredFrom)
          const updates = from?.updates ?? 0
          yield* core.record({
            t: "model",
            at: yield* Clock.currentTimeMillis,
            modelId: client.modelId,
            sessionId: service.sessionId,
            from: from?.path ?? null,
            updates
          })
          place = { generation, updates }
        }
        if (place.updates !== undefined) return place.updates
        return yield* new ClientClosed({
          operation: "train",
          client: "a client whose training failed on its way",
          certainlyNotSent: true
        })
      })

    const prepare = (batchesPerEpoch: number | undefined) =>
      reconciled && batchesPerEpoch === undefined
        ? Effect.void
        : Effect.zipLeft(
          reconcile(core, batchesPerEpoch),
          Effect.sync(() => {
            reconciled = true
          })
        )

    const train = <E, R>(plan: Plan<E, R>) =>
      Effect.gen(function*() {
        complete = (updates) => isComplete(state, plan, updates)
        yield* prepare(plan.batchesPerEpoch)
        const newest = candidates(state)[0]
        const done = newest !== undefined && newest.updates >= plan.total
          && (newest.kind === "final" || !plan.policy.final)
        if (done) return
        yield* recovery.use((incarnation) =>
          Effect.gen(function*() {
            const updates = yield* whereIs(incarnation)
            const { generation, restoredFrom } = incarnation
            yield* core.emit({ _tag: "Began", step: updates, total: plan.total, from: restoredFrom })
            place = { generation, updates: undefined }
            yield* Effect.onExit(trainLoop(core, plan, incarnation, Math.min(updates, plan.total)), (exit) =>
              Effect.sync(() => {
                // an exhausted budget ends the training in good order
                if (Exit.isSuccess(exit) || isBudget(exit.cause)) place = { generation, updates: state.applied }
              }))
          })
        )
      })

    const use = <A, E, R>(program: (incarnation: Recovery.Incarnation) => Effect.Effect<A, E, R>) =>
      Effect.zipRight(
        prepare(undefined),
        recovery.use((incarnation) => Effect.zipRight(whereIs(incarnation), program(incarnation)))
      )
    return { train, use }
  })

const isBudget = (cause: Cause.Cause<unknown>): boolean =>
  Option.exists(Cause.failureOption(cause), (error) => error instanceof Budget.BudgetExceeded)

/** The plan of the run, if it is new or the same as before. */
const agree = (core: RunCore, options: OpenOptions, identity: Journal.Json) =>
  Effect.gen(function*() {
    const { directory, state } = core
    const found = state.plan === undefined ? [] : differences(state.plan, identity)
    const refused = unaccepted(found, options.accept)
    if (refused.length > 0) return yield* new RunMismatch({ directory, differences: refused })
    if (found.length > 0) yield* core.record({ t: "accepted", settings: found.map(({ setting }) => setting) })
    if (state.plan === undefined || found.length > 0) yield* core.record({ t: "plan", plan: identity })
  })

export const open = (
  directory: string,
  options: OpenOptions
): Effect.Effect<Run, RunError | InvalidInput, Needs | Scope.Scope> =>
  Effect.gen(function*() {
    const core = yield* openCore(directory, options)
    const files = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
    const withFiles = <A, E, R>(effect: Effect.Effect<A, E, R | FileSystem.FileSystem | Path.Path>) =>
      Effect.mapInputContext(effect, (own: Context.Context<R>) => Context.merge(own, files))
    const prices = yield* Cost.Prices
    const { state } = core
    const client = yield* openClient(core, options)
    const fields: Omit<Run, keyof typeof Proto> = {
      directory,
      config: options.config,
      seed: core.seed,
      attempt: state.attempt,
      train: (given) =>
        Effect.gen(function*() {
          const plan = yield* makePlan(given)
          yield* agree(core, options, plan.identity)
          yield* withFiles(client.train(plan))
          return {
            updates: Math.max(state.applied, candidates(state)[0]?.updates ?? 0),
            usage: state.spent,
            checkpoint: candidates(state)[0]
          }
        }),
      estimate: (given) =>
        Effect.flatMap(
          makePlan(given),
          (plan) => estimate(plan, { model: options.config.baseModel, seed: core.seed, prices })
        ),
      use: (program) => withFiles(client.use(program)),
      once: (key, schema, make) =>
        Effect.suspend(() => {
          const known = state.once.get(key)
          if (known !== undefined) return Schema.decodeUnknown(schema)(known)
          return Effect.tap(make, (value) =>
            Effect.flatMap(Schema.encode(schema)(value), (encoded) =>
              // what a schema encodes for a file is JSON
              core.record({ t: "once", key, value: encoded as Journal.Json })))
        }),
      checkpoints: Effect.sync(() => [...state.checkpoints]),
      usage: Effect.sync(() => state.spent),
      events: core.events
    }
    return Object.assign(Object.create(Proto), fields)
  })
