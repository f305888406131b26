/**
 * Settings of a client, from options or the environment: where the service is, who asks, how long, how many, how often.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type { Operation } from "./observability/TelemetryEvent.js"
import { defaults } from "./TinkexConfig/internal/defaults.js"
import * as internal from "./TinkexConfig/internal/settings.js"
import { ConfigurationError } from "./TinkexError.js"

/**
 * Who is served: the normalised base URL, and a hash of it and the key. Everything that clients of one tenant share (limiter,
 * breakers, gates, retry budget) is kept under `id`; metrics and events carry `label`. Neither holds the key.
 *
 * @since 0.1.0
 * @category models
 */
export interface TenantKey {
  readonly id: string
  /** Eight digits of the hash: short, and the same in every process. */
  readonly label: string
}

/**
 * The `label` that belongs to a tenant's `id`.
 *
 * @since 0.1.0
 * @category getters
 */
export const labelOfTenant: (id: string) => string = internal.labelOfTenant

/**
 * How much of a training operation goes into one request when the server does not say (docs/protocol/training.md#chunks).
 *
 * @since 0.1.0
 * @category models
 */
export interface ChunkLimits {
  /** Examples in one request. */
  readonly examples: number
  /** Tokens and tensor elements in one request. */
  readonly numbers: number
}

/**
 * How long things may take.
 *
 * @since 0.1.0
 * @category models
 */
export interface Timeouts {
  /** One attempt of an ordinary request. */
  readonly request: Duration.Duration
  /** One poll; the server answers within 30 to 40 s (docs/protocol/futures.md#answers-to-a-poll). */
  readonly poll: Duration.Duration
  readonly heartbeat: Duration.Duration
  /** All attempts of one logical call, waits included. */
  readonly call: Duration.Duration
  /** A future whose queue state does not change. */
  readonly future: Duration.Duration
  /**
   * How long nothing at all may be heard of the service, though it is asked, before what waits for it fails.
   *
   * @since 0.2.0
   */
  readonly silence: Duration.Duration
  /** Telling the server, on close, that the session is over. */
  readonly finish: Duration.Duration
}

/**
 * Repeats of training, session and service calls: full jitter up to `base * 2^n`, at most `cap`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Retry {
  /** Repeats after the first attempt. 0 switches repeating off. */
  readonly times: number
  readonly base: Duration.Duration
  readonly cap: Duration.Duration
}

/**
 * Submission of samples besides `pools.sampling`: how many at one time while the service has asked for less, and their bytes
 * when the server sets no limit (docs/protocol/sampling.md#load).
 *
 * @since 0.1.0
 * @category models
 */
export interface SamplingLimits {
  readonly throttled: number
  readonly dispatchBytes: number
}

/**
 * What happens to a sample that fails. `none`: the error is yours, at once. `standard`: repeated as training calls are.
 * `progress-timeout`: repeated until no sample of the client has succeeded for `progressTimeout` (the official SDK).
 *
 * @since 0.1.0
 * @category models
 */
export type SamplingRetry =
  | { readonly policy: "none" }
  | { readonly policy: "standard" }
  | { readonly policy: "progress-timeout"; readonly progressTimeout: Duration.Duration }

/**
 * Checked settings. Printing them, in whatever way, never shows a key or the values of headers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Settings extends Inspectable.Inspectable {
  /** Lower-case host, no default port, no slash at the end; a path before `/api/v1` is kept. */
  readonly baseUrl: string
  /** Whether `baseUrl` is Tinker itself. */
  readonly hosted: boolean
  readonly apiKey: Redacted.Redacted | undefined
  readonly tenant: TenantKey
  readonly projectId: string | undefined
  readonly displayName: string | undefined
  readonly tags: ReadonlyArray<string>
  readonly userMetadata: Readonly<Record<string, string>>
  readonly cloudflareAccess: { readonly clientId: string; readonly clientSecret: Redacted.Redacted } | undefined
  /** Sent with every request; names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly timeouts: Timeouts
  /** Requests at one time, per kind. */
  readonly pools: Readonly<Record<Operation, number>>
  readonly chunks: ChunkLimits
  readonly sampling: SamplingLimits
  readonly retry: Retry
  readonly samplingRetry: SamplingRetry
  /** Whether errors and session events are reported to the service. */
  readonly telemetry: boolean
  /** Whether calls open spans. */
  readonly tracing: boolean
  /** Whether W3C trace headers are sent. */
  readonly propagation: boolean
}

/**
 * Whether a value is checked settings, and not yet options.
 *
 * @since 0.1.0
 * @category guards
 */
export const isSettings: (u: unknown) => u is Settings = internal.isSettings

/**
 * The settings as a service.
 *
 * @since 0.1.0
 * @category services
 */
export class TinkexConfig extends Context.Tag("tinkex/TinkexConfig")<TinkexConfig, Settings>() {}

/**
 * Settings as they are given: all of them optional, durations and keys in whatever form is at hand.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly baseUrl?: string | URL | undefined
  readonly apiKey?: string | Redacted.Redacted | undefined
  readonly projectId?: string | undefined
  readonly displayName?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
  readonly userMetadata?: Readonly<Record<string, string>> | undefined
  readonly cloudflareAccess?:
    | { readonly clientId: string; readonly clientSecret: string | Redacted.Redacted }
    | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly timeouts?: { readonly [K in keyof Timeouts]?: Duration.DurationInput | undefined } | undefined
  readonly pools?: { readonly [K in Operation]?: number | undefined } | undefined
  readonly chunks?: Partial<ChunkLimits> | undefined
  readonly sampling?: Partial<SamplingLimits> | undefined
  readonly retry?: {
    readonly times?: number | undefined
    readonly base?: Duration.DurationInput | undefined
    readonly cap?: Duration.DurationInput | undefined
  } | undefined
  readonly samplingRetry?:
    | "none"
    | "standard"
    | "progress-timeout"
    | { readonly policy: "progress-timeout"; readonly progressTimeout: Duration.DurationInput }
    | undefined
  readonly telemetry?: boolean | undefined
  readonly tracing?: boolean | undefined
  readonly propagation?: boolean | undefined
}

export {
  /**
   * What applies where neither options nor environment say otherwise.
   *
   * @since 0.1.0
   * @category constants
   */
  defaults,
  /**
   * Tinker itself (docs/protocol/transport.md#urls).
   *
   * @since 0.1.0
   * @category constants
   */
  hostedBaseUrl
} from "./TinkexConfig/internal/defaults.js"

/**
 * Named chunk limits: the seeds of this project, and what the official SDK assumes.
 *
 * @since 0.1.0
 * @category constants
 */
export const chunkPresets = {
  conservative: defaults.chunks,
  official: { examples: 1024, numbers: 1_250_000 }
} as const satisfies Record<string, ChunkLimits>

/**
 * The base URL in the form that is used and compared: lower-case host, default ports dropped, no query, no slash at the end.
 * A path is kept, the hosted service has one. Throws `ConfigurationError` when it is not an http or https URL.
 *
 * @since 0.1.0
 * @category constructors
 */
export const normalizeBaseUrl: (input: string | URL) => string = internal.normalizeBaseUrl

/**
 * Settings from options alone. Fails with `ConfigurationError`, which names the option, the variable that stands in for it and
 * what would be right.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Settings, ConfigurationError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(internal.settingsOf(options))
    } catch (cause) {
      return cause instanceof ConfigurationError ? Effect.fail(cause) : Effect.die(cause)
    }
  })

const unset = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

/** Text of a variable; blank counts as unset. */
const text = (name: string): Config.Config<string | undefined> =>
  unset(Config.string(name)).pipe(Config.map((value) => value?.trim() === "" ? undefined : value))

const booleans: Readonly<Record<string, boolean>> = {
  1: true,
  true: true,
  yes: true,
  on: true,
  0: false,
  false: false,
  no: false,
  off: false
}

const boolean = (name: string): Config.Config<boolean | undefined> =>
  Config.mapOrFail(text(name), (value) => {
    if (value === undefined) return Either.right(undefined)
    const known = booleans[value.trim().toLowerCase()]
    return known === undefined
      ? Either.left(ConfigError.InvalidData([name], "expected 1, true, yes, on, 0, false, no or off"))
      : Either.right(known)
  })

const list = (name: string): Config.Config<ReadonlyArray<string> | undefined> =>
  Config.map(
    text(name),
    (value) =>
      value === undefined
        ? undefined
        : [...new Set(value.split(",").map((tag) => tag.trim()).filter((tag) => tag !== ""))]
  )

/**
 * The options that the environment gives: `TINKER_API_KEY`, `TINKER_BASE_URL`, `TINKER_PROJECT_ID`, `TINKER_TAGS` (comma
 * separated), `TINKER_TELEMETRY` (1, true, yes, on or their opposites), `CLOUDFLARE_ACCESS_CLIENT_ID` and
 * `CLOUDFLARE_ACCESS_CLIENT_SECRET`, `TINKEX_OTEL_PROPAGATE`. Blank counts as unset.
 *
 * @since 0.1.0
 * @category constructors
 */
export const environment: Config.Config<Options> = Config.all({
  apiKey: unset(Config.redacted("TINKER_API_KEY")),
  baseUrl: text("TINKER_BASE_URL"),
  projectId: text("TINKER_PROJECT_ID"),
  tags: list("TINKER_TAGS"),
  telemetry: boolean("TINKER_TELEMETRY"),
  propagation: boolean("TINKEX_OTEL_PROPAGATE"),
  clientId: text("CLOUDFLARE_ACCESS_CLIENT_ID"),
  clientSecret: unset(Config.redacted("CLOUDFLARE_ACCESS_CLIENT_SECRET"))
}).pipe(Config.map(({ clientId, clientSecret, ...options }) => ({
  ...options,
  cloudflareAccess: clientId === undefined && internal.keyOf(clientSecret) === undefined
    ? undefined
    : { clientId: clientId ?? "", clientSecret: clientSecret ?? "" }
})))

const defined = <A extends object>(record: A): Partial<A> => {
  const out: Partial<A> = {}
  for (const key in record) if (record[key] !== undefined) out[key] = record[key]
  return out
}

/**
 * Settings from options and, for what they leave out, the environment (`environment`, through the current
 * `ConfigProvider`). An unreadable variable fails with an `ConfigurationError` that names it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeConfig = (options: Options = {}): Effect.Effect<Settings, ConfigurationError> =>
  Effect.flatMap(
    Effect.mapError(environment, fromConfigError),
    (fromEnvironment) => make({ ...fromEnvironment, ...defined(options) })
  )

/**
 * The error of a variable that cannot be used, as one of this package.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromConfigError = (error: ConfigError.ConfigError): ConfigurationError => {
  const { message, path } = firstProblem(error)
  return new ConfigurationError({ setting: path.join("."), detail: message })
}

type Problem = Exclude<ConfigError.ConfigError, ConfigError.And | ConfigError.Or>

const firstProblem = (error: ConfigError.ConfigError): Problem =>
  error._op === "And" || error._op === "Or" ? firstProblem(error.left) : error

/**
 * The settings of the given options as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<TinkexConfig, ConfigurationError> =>
  Layer.effect(TinkexConfig, make(options))

/**
 * The settings of the given options, completed from the environment, as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Options = {}): Layer.Layer<TinkexConfig, ConfigurationError> =>
  Layer.effect(TinkexConfig, makeConfig(options))
