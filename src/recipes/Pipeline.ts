/**
 * Pipelines: stages with schemas at their borders, each run once for its input and found again ever after. A program of stages
 * that was cut off is started again, and goes on within the stage where it was.
 *
 * It stands on `@effect/workflow`, whose stores are its memory: in one process a file of SQLite, on many machines
 * `@effect/cluster` with a database. These packages are optional peers of this one.
 *
 * @since 0.2.0
 */
import * as ClusterWorkflowEngine from "@effect/cluster/ClusterWorkflowEngine"
import * as SingleRunner from "@effect/cluster/SingleRunner"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import type { SqlClient } from "@effect/sql/SqlClient"
import * as Activity from "@effect/workflow/Activity"
import * as Workflow from "@effect/workflow/Workflow"
import * as WorkflowEngine from "@effect/workflow/WorkflowEngine"
import * as Cause from "effect/Cause"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Types from "effect/Types"
import { DirectoryLock } from "../runs/DirectoryLock.js"
import { hash } from "../runs/hash.js"
import type { Json } from "../runs/Journal.js"
import { type RunInUse, RunStorageError } from "../runs/RunError.js"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/Pipeline/Stage")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * A stage failed. What went before it stays done; the next call of the stage tries again, and goes on in its folder.
 *
 * @since 0.2.0
 * @category errors
 */
export class StageFailed extends Schema.TaggedError<StageFailed>("tinkex/Pipeline/StageFailed")("StageFailed", {
  stage: Schema.String,
  /** The folder of the stage, with what it had come to. */
  directory: Schema.String,
  /** The tag of the error, where it has one. */
  error: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `stage ${this.stage} failed in ${this.directory}: ${this.error}: ${this.detail}. ` +
      `Stages before it are kept; call it again to go on`
  }
}

/**
 * Where pipelines keep what they make, and which stages go on.
 *
 * @since 0.2.0
 * @category services
 */
export class Pipeline extends Context.Tag("tinkex/Pipeline")<Pipeline, {
  /** Stages have their folders in it. */
  readonly directory: string
  /** Tells that somebody waits for an execution. */
  readonly ask: (execution: string) => Effect.Effect<void>
  /** Returns when an execution may go on. */
  readonly asked: (execution: string) => Effect.Effect<void>
}>() {}

/**
 * In the type of a program that calls a stage: the stage's layer has to be provided.
 *
 * @since 0.2.0
 * @category models
 */
export interface Registered<in out Name extends string> {
  readonly [TypeId]: Types.Invariant<Name>
}

/**
 * What a stage is told beside its input.
 *
 * @since 0.2.0
 * @category models
 */
export interface StageContext {
  /** A folder of its own, the same whenever the stage goes on with the same input: for its `Run`. */
  readonly directory: string
}

/**
 * A stage of a pipeline.
 *
 * @since 0.2.0
 * @category models
 */
export interface Stage<in out Name extends string, in I, out O, out R = never> {
  readonly [TypeId]: TypeId
  readonly name: Name
  /**
   * The output for an input. Made once: found again when the stage has ended before with this name, version, settings and
   * input, in whatever program. The same call at the same time waits for the same execution.
   */
  readonly run: (input: I) => Effect.Effect<O, StageFailed, Registered<Name>>
  /** Makes the stage known to the engine. */
  readonly layer: Layer.Layer<Registered<Name>, never, R | Pipeline | WorkflowEngine.WorkflowEngine>
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isStage = (u: unknown): u is Stage<string, never, unknown, unknown> => Predicate.hasProperty(u, TypeId)

const nameOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string"
    ? error._tag
    : error instanceof Error
    ? error.name
    : "Error"

const failedBy = (stage: string, directory: string) => (error: unknown): StageFailed =>
  new StageFailed({
    stage,
    directory,
    error: nameOf(error),
    detail: error instanceof Error ? error.message : String(error)
  })

/**
 * A stage: its name, the version of what it does, schemas of what goes in and comes out, and what it does. What it depends on
 * besides its input is told in `settings`: another version or other settings make it another stage, that runs anew.
 *
 * Give its `Run` the folder that it is told, and a stage that was cut off goes on exactly.
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Dataset, type Datum, Run, Supervised } from "tinkex"
 * import * as Pipeline from "tinkex/Pipeline"
 *
 * const data: ReadonlyArray<Datum.Datum> = []
 *
 * const sft = Pipeline.stage("sft", {
 *   version: 1,
 *   input: Schema.Struct({ baseModel: Schema.String, epochs: Schema.Int }),
 *   output: Schema.Struct({ state: Schema.String }),
 *   run: ({ baseModel, epochs }, { directory }) =>
 *     Effect.scoped(Effect.gen(function*() {
 *       const run = yield* Run.open(directory, { config: { baseModel, rank: 16 } })
 *       const batches = yield* Dataset.fromArray(data, { batchSize: 8 })
 *       const { checkpoint } = yield* Supervised.train(run, { data: batches, epochs })
 *       return { state: checkpoint?.path ?? "" }
 *     }))
 * })
 *
 * const program = sft.run({ baseModel: "tinkex/nano", epochs: 3 }).pipe(Effect.provide(sft.layer))
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const stage = <const Name extends string, I, IE, O, OE, E, R>(
  name: Name,
  options: {
    readonly version: number | string
    readonly settings?: Json | undefined
    readonly input: Schema.Schema<I, IE>
    readonly output: Schema.Schema<O, OE>
    readonly run: (input: I, context: StageContext) => Effect.Effect<O, E, R>
  }
): Stage<Name, I, O, Exclude<R, Scope.Scope>> => {
  const identity = hash([name, options.version, options.settings ?? null])
  const workflow = Workflow.make({
    name: `tinkex/${name}/${identity}`,
    // as the borders' schemas have encoded them
    payload: { input: Schema.Unknown, attempt: Schema.Int },
    success: Schema.Unknown,
    error: StageFailed,
    idempotencyKey: ({ attempt, input }) => `${hash(input)}/${attempt}`
  })
  const tag = Context.GenericTag<Registered<Name>, (input: I) => Effect.Effect<O, StageFailed>>(
    `tinkex/Pipeline/Stage/${name}/${identity}`
  )

  const register = Effect.gen(function*() {
    const pipeline = yield* Pipeline
    const engine = yield* WorkflowEngine.WorkflowEngine
    const directoryOf = (input: unknown): string =>
      `${pipeline.directory}/${name.replaceAll(/[^A-Za-z0-9._-]/g, "_")}-${hash([identity, input]).slice(0, 16)}`

    const execute = (input: unknown) => {
      const directory = directoryOf(input)
      return Activity.make({
        name,
        success: Schema.Unknown,
        error: StageFailed,
        execute: Schema.decodeUnknown(options.input)(input).pipe(
          Effect.flatMap((decoded) => options.run(decoded, { directory })),
          Effect.flatMap(Schema.encode(options.output)),
          Effect.catchAllCause((cause) =>
            Cause.isInterruptedOnly(cause)
              ? Effect.failCause(cause as Cause.Cause<never>) // it has no failure
              : Effect.fail(failedBy(name, directory)(Cause.squash(cause)))
          )
        )
      })
    }
    yield* engine.register(workflow, ({ input }, id) => Effect.zipRight(pipeline.asked(id), execute(input)))

    return (input: I): Effect.Effect<O, StageFailed> =>
      Effect.gen(function*() {
        const encoded = yield* Schema.encode(options.input)(input)
        // an attempt that failed is kept as it is; the next one is an execution of its own
        for (let attempt = 0;; attempt++) {
          const payload = { input: encoded, attempt }
          const executionId = yield* workflow.executionId(payload)
          const before = yield* engine.poll(workflow, executionId)
          if (before?._tag === "Complete") {
            if (Exit.isFailure(before.exit)) continue
            return yield* Schema.decodeUnknown(options.output)(before.exit.value)
          }
          yield* pipeline.ask(executionId)
          const output = yield* engine.execute(workflow, { executionId, payload })
          return yield* Schema.decodeUnknown(options.output)(output)
        }
      }).pipe(
        Effect.catchTag("ParseError", (error) => Effect.fail(failedBy(name, pipeline.directory)(error))),
        Effect.withSpan("tinkex.pipeline.stage", { attributes: { stage: name } })
      )
  })

  return {
    [TypeId]: TypeId,
    name,
    run: (input) => Effect.flatMap(tag, (run) => run(input)),
    layer: Layer.scoped(tag, register)
  }
}

/** Executions go on only when somebody in this process has asked for them. */
const onlyAsked = Effect.sync(() => {
  const latches = new Map<string, Effect.Latch>()
  const of = (id: string): Effect.Latch => {
    const latch = latches.get(id) ?? Effect.unsafeMakeLatch()
    latches.set(id, latch)
    return latch
  }
  return {
    ask: (id: string) => Effect.asVoid(Effect.suspend(() => of(id).open)),
    asked: (id: string) => Effect.suspend(() => of(id).await)
  }
})

/**
 * Pipelines in one process: what is done is kept in `stages.db` of a directory, opened by the SQLite client that is given
 * (`@effect/sql-sqlite-node` on Node). One process at a time holds the directory. A stage that was cut off goes on when it is
 * asked for again, and not before.
 *
 * ```ts
 * import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
 * import * as Pipeline from "tinkex/Pipeline"
 *
 * export const pipelines = Pipeline.layer("pipelines/greeter", (filename) => SqliteClient.layer({ filename }))
 * ```
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = <E, R>(
  directory: string,
  sqlite: (filename: string) => Layer.Layer<SqlClient, E, R>
): Layer.Layer<
  Pipeline | WorkflowEngine.WorkflowEngine,
  ConfigError | RunInUse | RunStorageError | E,
  FileSystem.FileSystem | Path.Path | R
> =>
  Layer.unwrapScoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const file = (yield* Path.Path).join(directory, "stages.db")
    yield* Effect.mapError(
      fs.makeDirectory(directory, { recursive: true }),
      (cause) => new RunStorageError({ doing: "write", file: directory, cause })
    )
    yield* Effect.flatMap(DirectoryLock, (lock) => lock(directory))
    const engine = ClusterWorkflowEngine.layer.pipe(
      Layer.provide(SingleRunner.layer({
        // the directory's lock is what keeps others away
        runnerStorage: "memory",
        shardingConfig: {
          shardsPerGroup: 1,
          // stages of another version wait until their version comes again
          entityRegistrationTimeout: Duration.infinity,
          entityTerminationTimeout: 0
        }
      })),
      Layer.provide(sqlite(file))
    )
    return Layer.merge(engine, Layer.effect(Pipeline, Effect.map(onlyAsked, (gate) => ({ directory, ...gate }))))
  }))

/**
 * Pipelines on an engine of your choice, as that of `@effect/cluster` over many machines: `directory` is one that all of them see.
 * A stage that was cut off goes on by itself, on whichever machine the engine gives it to.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerEngine = (directory: string): Layer.Layer<Pipeline> =>
  Layer.succeed(Pipeline, { directory, ask: () => Effect.void, asked: () => Effect.void })
