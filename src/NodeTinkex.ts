/**
 * The front door on Node: its HTTP client, with connections that long polls cannot use up, and its environment.
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Agent } from "@effect/platform-node/Undici"
import { SystemError } from "@effect/platform/Error"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Names from "./client/options.js"
import * as NodeLock from "./node/DirectoryLock.js"
import { MetricNames } from "./observability/MetricNames.js"
import * as Metrics from "./observability/Metrics.js"
import { known } from "./protocol/options.js"
import { DirectoryLock } from "./runs/DirectoryLock.js"
import { RunInUse, RunStorageError } from "./runs/RunError.js"
import * as Tinkex from "./Tinkex.js"
import type { Options } from "./TinkexConfig.js"
import { config as configNames, configuredAll } from "./TinkexConfig/options.js"
import type { ConfigurationError, TinkexError } from "./TinkexError.js"

/**
 * Connections to one origin at most, and how long an idle one is kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpOptions {
  /** For requests. 128 unless given. */
  readonly connections?: number | undefined
  /** For polls, which hold theirs for half a minute. 1,024 unless given. */
  readonly pollConnections?: number | undefined
  /** In milliseconds. A minute unless given. */
  readonly keepAliveTimeout?: number | undefined
}

const agent = (connections: number, keepAliveTimeout: number) =>
  Effect.acquireRelease(
    Effect.sync(() => new Agent({ connections, keepAliveTimeout })),
    (agent) => Effect.promise(() => agent.destroy())
  )

/**
 * Node's HTTP client over undici, with connections of their own for polls: a thousand of those must not keep a heartbeat or a
 * training step waiting.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHttpClient = (options: HttpOptions = {}): Layer.Layer<HttpClient.HttpClient> =>
  NodeHttpClient.layerUndiciWithoutDispatcher.pipe(
    Layer.provide(Layer.scoped(
      NodeHttpClient.Dispatcher,
      Effect.gen(function*() {
        const keepAlive = options.keepAliveTimeout ?? 60_000
        const requests = yield* agent(options.connections ?? 128, keepAlive)
        const polls = yield* agent(options.pollConnections ?? 1024, keepAlive)
        return requests.compose((dispatch) => (request, handler) =>
          request.path.endsWith("/retrieve_future") ? polls.dispatch(request, handler) : dispatch(request, handler)
        )
      })
    ))
  )

/** Run directories are held as the server's data directory is: by a socket that ends with its owner. */
const layerLock = Layer.succeed(
  DirectoryLock,
  (directory) =>
    Effect.asVoid(Effect.mapError(NodeLock.hold(directory), ({ cause, owner, reason }) =>
      reason === "InUse"
        ? new RunInUse({ directory, holder: owner ?? "somebody else" })
        : new RunStorageError({
          doing: "write",
          file: directory,
          cause: new SystemError({
            reason: "Unknown",
            module: "FileSystem",
            method: "lock",
            pathOrDescriptor: directory,
            description: cause?.message,
            cause
          })
        })))
)

/** With the memory of the process among the metrics. */
const observed = <A, E, R>(layer: Layer.Layer<A | Metrics.Metrics, E, R>): Layer.Layer<A | Metrics.Metrics, E, R> =>
  Layer.provideMerge(
    Layer.scopedDiscard(
      Effect.flatMap(
        Metrics.Metrics,
        (metrics) => metrics.observeGauge(MetricNames.residentMemory, () => process.memoryUsage.rss())
      )
    ),
    layer
  )

const ground = (options: HttpOptions) => Layer.merge(layerHttpClient(options), layerLock)

const httpNames = known<HttpOptions>("Node's HTTP client", Names.http.names)

/** The layer of options of several kinds, with names that none of them knows refused. */
const within = <O extends HttpOptions, A, E>(
  kinds: ReadonlyArray<{ readonly names: Readonly<Record<string, true>> }>,
  options: O,
  make: (http: ReturnType<typeof ground>, rest: Omit<O, keyof HttpOptions>) => Layer.Layer<A, E>
): Layer.Layer<A, E | ConfigurationError> =>
  Layer.unwrapEffect(Effect.map(configuredAll("tinkex on Node", [...kinds, httpNames], options), () => {
    const { connections: _, keepAliveTimeout: __, pollConnections: ___, ...rest } = options
    return make(ground(httpNames.pick(options)), rest)
  }))

/**
 * `Tinkex.layerShared` on Node.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerShared = (
  options: Tinkex.SharedOptions & HttpOptions = {}
): Layer.Layer<Tinkex.Shared | HttpClient.HttpClient, TinkexError> =>
  within([Names.shared], options, (http, rest) => Layer.provideMerge(observed(Tinkex.layerShared(rest)), http))

/**
 * `Tinkex.layer` on Node.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options & Tinkex.SharedOptions & HttpOptions = {}
): Layer.Layer<Tinkex.Provided | HttpClient.HttpClient, TinkexError> =>
  within(
    [configNames, Names.shared],
    options,
    (http, rest) => Layer.provideMerge(observed(Tinkex.layer(rest)), http)
  )

/**
 * `Tinkex.layerConfig` on Node: options first, then the environment. Without either it is Tinker itself, with the key in
 * `TINKER_API_KEY`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Options & Tinkex.SharedOptions & HttpOptions = {}
): Layer.Layer<Tinkex.Provided | HttpClient.HttpClient, TinkexError> =>
  within(
    [configNames, Names.shared],
    options,
    (http, rest) => Layer.provideMerge(observed(Tinkex.layerConfig(rest)), http)
  )
