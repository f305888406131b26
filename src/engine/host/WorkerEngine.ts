/**
 * The engine in worker threads of Node, so that training and sampling never hold up the program's own thread.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { existsSync } from "node:fs"
import { Worker } from "node:worker_threads"
import { Engine, EngineError } from "../Engine.js"
import type { EngineOptions } from "../EngineOptions.js"
import type { ModelDefinition } from "../model/Models.js"
import { makeService } from "./service.js"
import { settings } from "./settings.js"
import { makeWorkers, type Spawn } from "./workers.js"

/**
 * Settings of an engine in workers.
 *
 * @since 0.1.0
 * @category models
 */
export interface WorkerEngineOptions extends EngineOptions {
  /**
   * Threads; 1 by default. With more, every run is held by each of them and a batch is shared between them; gradients are
   * added in a fixed order, so the same number of workers gives the same bits. Sampling requests are spread over them.
   */
  readonly workers?: number | undefined
}

/** Where the built worker is when this file runs as TypeScript source, which Node cannot do for the worker. */
const built = import.meta.url.endsWith(".ts")
  ? new URL("../../../dist/engine/host/worker.js", import.meta.url)
  : undefined

const spawn: Spawn = (workerData, transferList) => {
  const options = { workerData, transferList, execArgv: [], name: "tinkex-engine" }
  // The second form is the one that bundlers recognise.
  return built !== undefined ? new Worker(built, options) : new Worker(new URL("./worker.js", import.meta.url), options)
}

/** What a worker needs of a model; texts of megabytes stay behind. */
const withoutTokenizer = (model: ModelDefinition): ModelDefinition => ({ ...model, tokenizer: undefined })

/**
 * An engine over workers that the caller starts.
 *
 * @internal
 */
export const makeWith = (
  options: WorkerEngineOptions,
  spawn: Spawn
): Effect.Effect<Context.Tag.Service<typeof Engine>, EngineError, Scope.Scope> =>
  Effect.gen(function*() {
    const size = options.workers ?? 1
    if (!Number.isInteger(size) || size < 1) {
      return yield* new EngineError({ reason: "InvalidInput", detail: `workers is ${size}, not a positive integer` })
    }
    const { limits, models, sampledLogprobs } = settings(options)
    const twice = models.find(({ name }, i) => models.findIndex((other) => other.name === name) < i)
    if (twice !== undefined) {
      return yield* new EngineError({ reason: "InvalidInput", detail: `two models are called ${twice.name}` })
    }
    const workers = yield* Effect.acquireRelease(
      Effect.sync(() => makeWorkers({ limits, models: models.map(withoutTokenizer), sampledLogprobs }, size, spawn)),
      (workers) => Effect.promise(() => workers.close("the engine has been closed"))
    )
    yield* Effect.async<void, EngineError>((resume) =>
      workers.onReady((result) =>
        resume(Effect.mapError(result, (detail) => new EngineError({ reason: "Crashed", detail })))
      )
    )
    return makeService(models, workers.submit)
  })

/**
 * Starts the workers and waits until they have loaded; they end with the scope. Fails if they cannot be started.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: WorkerEngineOptions = {}
): Effect.Effect<Context.Tag.Service<typeof Engine>, EngineError, Scope.Scope> =>
  Effect.suspend(() =>
    built !== undefined && !existsSync(built)
      ? new EngineError({
        reason: "Crashed",
        detail: "the engine's worker has not been built, and Node cannot run it from source: npm run build"
      })
      : makeWith(options, spawn)
  )

/**
 * The engine as a layer. A worker that crashes fails everything that was asked of it, and all that is asked afterwards,
 * with reason `Crashed`. Interrupting an operation on a run stops the wait for it; the operation is done all the same.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: WorkerEngineOptions = {}): Layer.Layer<Engine, EngineError> =>
  Layer.scoped(Engine, make(options))
