/**
 * The front door on Node: its HTTP client, with connections that long polls cannot use up, and its environment.
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { SystemError } from "@effect/platform/Error"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Path from "node:path"
import * as Names from "./client/options.js"
import { longestAnswer, longestError } from "./client/transport/body.js"
import { cacheDirectory } from "./node/cacheDirectory.js"
import * as Credentials from "./node/credentials.js"
import * as NodeLock from "./node/DirectoryLock.js"
import * as HttpAgent from "./node/httpAgent.js"
import type { HubError } from "./node/hub/hubError.js"
import * as internalHub from "./node/hub/pullModel.js"
import * as UndiciClient from "./node/undiciClient.js"
import { MetricNames } from "./observability/MetricNames.js"
import * as Metrics from "./observability/Metrics.js"
import { known } from "./protocol/options.js"
import { DirectoryLock } from "./runs/DirectoryLock.js"
import { RunInUse, RunStorageError } from "./runs/RunError.js"
import * as Tinkex from "./Tinkex.js"
import type { Options } from "./TinkexConfig.js"
import * as TinkexConfig from "./TinkexConfig.js"
import { config as configNames, configuredAll } from "./TinkexConfig/options.js"
import { ConfigurationError, type TinkexError } from "./TinkexError.js"
import * as Tokenizers from "./tokenizer/Tokenizers.js"

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
  Effect.mapError(HttpAgent.make({ connections, keepAliveTimeout }), ({ variable }) =>
    new ConfigurationError({
      setting: variable,
      detail: "expected the address of a proxy, such as http://proxy.example:3128, got text that is none"
    }))

/**
 * Node's HTTP client over undici, with connections of their own for polls: a thousand of those must not keep a heartbeat or a
 * training step waiting. `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` are honoured, in either case of letters; this machine is
 * always reached directly.
 *
 * Where undici is not whole, as in Bun, it is `fetch`, and the options have no effect.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHttpClient = (options: HttpOptions = {}): Layer.Layer<HttpClient.HttpClient, ConfigurationError> =>
  HttpAgent.undiciIsWhole ? layerUndici(options) : FetchHttpClient.layer

const layerUndici = (options: HttpOptions): Layer.Layer<HttpClient.HttpClient, ConfigurationError> =>
  Layer.scoped(
    HttpClient.HttpClient,
    Effect.gen(function*() {
      const keepAlive = options.keepAliveTimeout ?? 60_000
      const requests = yield* agent(options.connections ?? 128, keepAlive)
      const polls = yield* agent(options.pollConnections ?? 1024, keepAlive)
      const dispatcher = requests.compose((dispatch) => (request, handler) =>
        request.path.endsWith("/retrieve_future") ? polls.dispatch(request, handler) : dispatch(request, handler)
      )
      return UndiciClient.make(dispatcher, (status) => status < 400 ? longestAnswer : longestError)
    })
  )

/**
 * Tokenizers on Node: the built-in ones and the Hugging Face hub, asked with the `HF_TOKEN` and at the `HF_ENDPOINT` of the
 * environment. What it gave is kept on disk, below `TINKEX_CACHE` or where the platform keeps caches (`~/.cache/tinkex`); delete
 * it to see changes that a repository made.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerTokenizers: Layer.Layer<Tokenizers.Tokenizers, ConfigurationError, HttpClient.HttpClient> = Layer
  .unwrapEffect(
    Effect.map(
      Tokenizers.hubConfig,
      (hub) => Tokenizers.layerHubCached({ ...hub, directory: Path.join(cacheDirectory(), "tokenizers") })
    )
  ).pipe(
    Layer.provide(NodeFileSystem.layer),
    Layer.mapError(TinkexConfig.fromConfigError)
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

const credentialFailed = ({ detail, source }: Credentials.CredentialError): ConfigurationError =>
  new ConfigurationError({ setting: source, detail })

/**
 * The options with a key, where neither they nor the environment have one: that which `tinkex auth login` (or the official SDK)
 * keeps in `~/.tinker/credentials.json`, for the hosted service only; otherwise what `TINKER_CREDENTIAL_CMD` prints.
 *
 * @since 0.2.0
 * @category constructors
 */
export const withCredential = <O extends Options>(options: O): Effect.Effect<O, ConfigurationError> =>
  Effect.gen(function*() {
    const environment = yield* Effect.mapError(TinkexConfig.environment, TinkexConfig.fromConfigError)
    const given = [options.apiKey, environment.apiKey].some((key) =>
      key !== undefined && (typeof key === "string" ? key : Redacted.value(key)).trim() !== ""
    )
    if (given) return options
    const baseUrl = options.baseUrl ?? environment.baseUrl
    const hosted = baseUrl === undefined || String(baseUrl).startsWith(TinkexConfig.hostedBaseUrl)
    const stored = hosted ? yield* Effect.mapError(Credentials.stored(), credentialFailed) : undefined
    if (stored !== undefined) return { ...options, apiKey: stored }
    const command = process.env["TINKER_CREDENTIAL_CMD"]?.trim() ?? ""
    if (command === "") return options
    return { ...options, apiKey: yield* Effect.mapError(Credentials.ofCommand(command), credentialFailed) }
  })

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

/** The layer of options of several kinds, with names that none of them knows refused, and Node's tokenizers unless others are given. */
const within = <O extends HttpOptions & Tinkex.SharedOptions, A, E>(
  kinds: ReadonlyArray<{ readonly names: Readonly<Record<string, true>> }>,
  options: O,
  make: (http: ReturnType<typeof ground>, rest: Omit<O, keyof HttpOptions> & Tinkex.SharedOptions) => Layer.Layer<A, E>
): Layer.Layer<A, E | ConfigurationError> =>
  Layer.unwrapEffect(Effect.map(configuredAll("tinkex on Node", [...kinds, httpNames], options), () => {
    const { connections: _, keepAliveTimeout: __, pollConnections: ___, ...rest } = options
    return make(ground(httpNames.pick(options)), { ...rest, tokenizers: options.tokenizers ?? layerTokenizers })
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
 * `TINKER_API_KEY`, the one that is kept, or what `TINKER_CREDENTIAL_CMD` prints (`withCredential`).
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
    (http, rest) =>
      Layer.unwrapEffect(
        Effect.map(withCredential(rest), (known) => Layer.provideMerge(observed(Tinkex.layerConfig(known)), http))
      )
  )

export {
  /**
   * Why a model did not come from the hub: `NotFound`, `Unauthorized`, `Unreachable` (what came is kept), `Ambiguous` (several
   * models: choose a file), `Unsupported`, `Malformed`, `Corrupt` (a wrong checksum), `Storage` (the cache).
   *
   * @since 0.2.0
   * @category errors
   */
  HubError
} from "./node/hub/hubError.js"

/**
 * Which model, from where, and to where. What is left out comes from the environment in `pullModel` too: `HF_TOKEN`,
 * `HF_ENDPOINT`, and `HF_HUB_CACHE` or `HF_HOME` for the cache.
 *
 * @since 0.2.0
 * @category models
 */
export interface PullOptions extends internalHub.PullOptions {}

/**
 * A model that was fetched.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pulled extends internalHub.Pulled {}

/**
 * Fetches a model of the Hugging Face hub into the cache that the official Python client uses: `config.json`, the weights in
 * safetensors and the tokenizer, or one GGUF file. Files that are there are not fetched again; what broke off is gone on with;
 * a file counts when its checksum is right. The token goes to the hub's own origin alone.
 *
 * The `path` of the result is what `LocalTinkex.layer({ models: [{ path }] })` takes.
 *
 * @since 0.2.0
 * @category constructors
 */
export const pullModel = (
  repository: string,
  options: PullOptions = {}
): Effect.Effect<Pulled, HubError | ConfigurationError, HttpClient.HttpClient> =>
  Effect.flatMap(
    Effect.mapError(Tokenizers.hubConfig, TinkexConfig.fromConfigError),
    ({ endpoint, token }) =>
      internalHub.pullModel(repository, {
        ...options,
        token: options.token ?? token,
        endpoint: options.endpoint ?? endpoint
      })
  )
