/**
 * Settings of a client, from options or the environment: where the service is, who asks, how long, how many, how often.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Operation } from "./observability/TelemetryEvent.js"
import { InvalidInput } from "./protocol/InvalidInput.js"

/**
 * Who is served: the normalised base URL and a hash of the key. Everything that clients of one tenant share (limiter,
 * breakers, gates, retry budget) is kept under `id`; metrics and events carry `label`. Neither holds the key.
 *
 * @since 0.1.0
 * @category models
 */
export interface TenantKey {
  readonly id: string
  /** Host and eight digits of the hash: short, and the same in every process. */
  readonly label: string
}

/**
 * How much of a training operation goes into one request when the server does not say (wire-protocol 5.7).
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
  /** One poll; the server answers within 30 to 40 s (wire-protocol 2.7). */
  readonly poll: Duration.Duration
  readonly heartbeat: Duration.Duration
  /** All attempts of one logical call, waits included. */
  readonly call: Duration.Duration
  /** A future whose queue state does not change. */
  readonly future: Duration.Duration
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
 * What all repeats of a tenant together may cost: `percent` of its calls, and `minPerSecond` besides, over the last `ttl`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Budget {
  readonly percent: number
  readonly minPerSecond: number
  readonly ttl: Duration.Duration
}

/**
 * When calls are refused without asking a service that is down. `consecutiveFailures` in a row open the circuit for
 * `openFor`; then `halfOpenPermits` calls probe it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Breaker {
  readonly enabled: boolean
  readonly consecutiveFailures: number
  readonly openFor: Duration.Duration
  readonly halfOpenPermits: number
}

/**
 * Submission of samples: requests at one time, how many while the service has asked for less, and their bytes when the
 * server sets no limit (wire-protocol 5.5).
 *
 * @since 0.1.0
 * @category models
 */
export interface SamplingLimits {
  readonly concurrent: number
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
  readonly budget: Budget
  readonly breaker: Breaker
  readonly samplingRetry: SamplingRetry
  /** Whether errors and session events are reported to the service. */
  readonly telemetry: boolean
  /** Whether calls open spans. */
  readonly tracing: boolean
  /** Whether W3C trace headers are sent. */
  readonly propagation: boolean
}

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
  readonly budget?: {
    readonly percent?: number | undefined
    readonly minPerSecond?: number | undefined
    readonly ttl?: Duration.DurationInput | undefined
  } | undefined
  readonly breaker?: {
    readonly enabled?: boolean | undefined
    readonly consecutiveFailures?: number | undefined
    readonly openFor?: Duration.DurationInput | undefined
    readonly halfOpenPermits?: number | undefined
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

/**
 * Tinker itself (wire-protocol 1.1).
 *
 * @since 0.1.0
 * @category constants
 */
export const hostedBaseUrl = "https://tinker.thinkingmachines.dev/services/tinker-prod"

/**
 * What applies where neither options nor environment say otherwise.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaults = {
  timeouts: {
    request: Duration.seconds(60),
    poll: Duration.seconds(45),
    heartbeat: Duration.seconds(10),
    call: Duration.minutes(5),
    future: Duration.minutes(30),
    finish: Duration.seconds(3)
  },
  pools: { training: 64, sampling: 400, futures: 1000, session: 8, service: 32, telemetry: 2 },
  chunks: { examples: 128, numbers: 500_000 },
  sampling: { concurrent: 400, throttled: 10, dispatchBytes: 10_485_760 },
  retry: { times: 10, base: Duration.millis(500), cap: Duration.seconds(10) },
  budget: { percent: 0.2, minPerSecond: 10, ttl: Duration.seconds(10) },
  breaker: { enabled: true, consecutiveFailures: 5, openFor: Duration.seconds(30), halfOpenPermits: 1 },
  progressTimeout: Duration.hours(2)
} as const satisfies {
  readonly timeouts: Timeouts
  readonly pools: Readonly<Record<Operation, number>>
  readonly chunks: ChunkLimits
  readonly sampling: SamplingLimits
  readonly retry: Retry
  readonly budget: Budget
  readonly breaker: Breaker
  readonly progressTimeout: Duration.Duration
}

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

const refuse = (field: string, expected: string, actual: string): never => {
  throw new InvalidInput({ field, expected, actual })
}

/** Where a setting comes from, as messages name it: the option, and the variable that stands in for it. */
const apiKeyField = "apiKey (TINKER_API_KEY)"
const baseUrlField = "baseUrl (TINKER_BASE_URL)"

const normalize = (input: string | URL): URL => {
  const text = String(input).trim()
  if (!URL.canParse(text)) {
    return refuse(baseUrlField, "an absolute URL such as http://127.0.0.1:8787", "text that is none")
  }
  const url = new URL(text)
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    return refuse(baseUrlField, "a URL with http: or https:", url.protocol)
  }
  if (url.username !== "" || url.password !== "") {
    return refuse(baseUrlField, "a URL without user and password", "one that has them; the key belongs in apiKey")
  }
  url.search = ""
  url.hash = ""
  return url
}

/**
 * The base URL in the form that is used and compared: lower-case host, default ports dropped, no query, no slash at the end.
 * A path is kept, the hosted service has one. Throws `InvalidInput` when it is not an http or https URL.
 *
 * @since 0.1.0
 * @category constructors
 */
export const normalizeBaseUrl = (input: string | URL): string => {
  const url = normalize(input)
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`
}

const hostedHost = new URL(hostedBaseUrl).host

const secret = (value: string | Redacted.Redacted): Redacted.Redacted =>
  typeof value === "string" ? Redacted.make(value) : value

/** A key without surrounding blanks; blank counts as none, as in the official SDK. */
const keyOf = (value: string | Redacted.Redacted | undefined): Redacted.Redacted | undefined => {
  if (value === undefined) return undefined
  const text = Redacted.value(secret(value)).trim()
  return text === "" ? undefined : Redacted.make(text)
}

const headerName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

const headersOf = (input: Readonly<Record<string, string>>, field: string): Readonly<Record<string, string>> => {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(input)) {
    const lower = name.toLowerCase()
    if (!headerName.test(lower)) refuse(field, "names that HTTP allows", "a name with other characters")
    if (!headerValue.test(value)) refuse(`${field}.${lower}`, "a value that HTTP allows", "one with other characters")
    out[lower] = value
  }
  return out
}

const count = (field: string, value: number, min: number): number =>
  Number.isSafeInteger(value) && value >= min
    ? value
    : refuse(field, `a whole number from ${min}`, Number.isInteger(value) ? `${value}` : "another number")

const positive = (field: string, value: number): number =>
  Number.isFinite(value) && value >= 0 ? value : refuse(field, "a number from 0", "another number")

const time = (field: string, value: Duration.DurationInput): Duration.Duration => {
  const duration = Option.getOrUndefined(Duration.decodeUnknown(value))
  return duration !== undefined && Duration.toMillis(duration) > 0
    ? duration
    : refuse(field, "a duration above 0, such as \"30 seconds\"", "something else")
}

const each = <K extends string, I, O>(
  field: string,
  given: { readonly [P in K]?: I | undefined } | undefined,
  fallback: Readonly<Record<K, O>>,
  check: (field: string, value: I) => O
): Readonly<Record<K, O>> => {
  const out: Record<K, O> = { ...fallback }
  for (const key of Object.keys(given ?? {})) {
    if (!Object.hasOwn(fallback, key)) {
      refuse(`${field}.${key}`, `one of ${Object.keys(fallback).join(", ")}`, "another name")
    }
    const value = given?.[key as K] // a key of `fallback`, checked in the line above
    if (value !== undefined) out[key as K] = check(`${field}.${key}`, value)
  }
  return out
}

const samplingRetryOf = (given: Options["samplingRetry"]): SamplingRetry => {
  if (given === undefined || given === "none") return { policy: "none" }
  if (given === "standard") return { policy: "standard" }
  if (given === "progress-timeout") return { policy: "progress-timeout", progressTimeout: defaults.progressTimeout }
  if (typeof given !== "object" || given.policy !== "progress-timeout") {
    return refuse("samplingRetry", "none, standard or progress-timeout", "something else")
  }
  return { policy: "progress-timeout", progressTimeout: time("samplingRetry.progressTimeout", given.progressTimeout) }
}

const SettingsProto = {
  ...Inspectable.BaseProto,
  toJSON(this: Settings) {
    return {
      _id: "tinkex/TinkexConfig",
      baseUrl: this.baseUrl,
      tenant: this.tenant.label,
      apiKey: this.apiKey === undefined ? "none" : "<redacted>",
      projectId: this.projectId,
      tags: this.tags,
      headers: Object.keys(this.headers),
      samplingRetry: this.samplingRetry.policy,
      telemetry: this.telemetry
    }
  }
}

const settingsOf = (options: Options): Settings => {
  const url = normalize(
    options.baseUrl === undefined || String(options.baseUrl).trim() === "" ? hostedBaseUrl : options.baseUrl
  )
  const baseUrl = normalizeBaseUrl(url)
  const hosted = url.host === hostedHost
  const apiKey = keyOf(options.apiKey)
  const key = apiKey === undefined ? "" : Redacted.value(apiKey)
  if (hosted && !key.startsWith("tml-") && !key.startsWith("eyJ")) {
    refuse(
      apiKeyField,
      "a key of the hosted service, which starts with tml- (or a JWT, which starts with eyJ); set baseUrl for another server",
      apiKey === undefined ? "none" : "one that starts otherwise"
    )
  }
  if (!headerValue.test(key)) refuse(apiKeyField, "a key that fits into an HTTP header", "one with other characters")
  const access = options.cloudflareAccess
  const accessSecret = access === undefined ? undefined : keyOf(access.clientSecret)
  if (access !== undefined && (access.clientId.trim() === "" || accessSecret === undefined)) {
    refuse(
      "cloudflareAccess (CLOUDFLARE_ACCESS_CLIENT_ID, CLOUDFLARE_ACCESS_CLIENT_SECRET)",
      "both an id and a secret",
      "only one of them"
    )
  }
  const fingerprint = sha256(key)
  const settings: Omit<Settings, keyof Inspectable.Inspectable> = {
    baseUrl,
    hosted,
    apiKey,
    tenant: { id: `${baseUrl}#${fingerprint}`, label: `${url.host}#${fingerprint.slice(0, 8)}` },
    projectId: options.projectId?.trim() === "" ? undefined : options.projectId,
    displayName: options.displayName,
    tags: options.tags ?? [],
    userMetadata: options.userMetadata ?? {},
    cloudflareAccess: access === undefined || accessSecret === undefined
      ? undefined
      : { clientId: access.clientId, clientSecret: accessSecret },
    headers: headersOf(options.headers ?? {}, "headers"),
    timeouts: each("timeouts", options.timeouts, defaults.timeouts, time),
    pools: each("pools", options.pools, defaults.pools, (field, n: number) => count(field, n, 1)),
    chunks: each("chunks", options.chunks, defaults.chunks, (field, n: number) => count(field, n, 1)),
    sampling: each("sampling", options.sampling, defaults.sampling, (field, n: number) => count(field, n, 1)),
    retry: {
      times: options.retry?.times === undefined ? defaults.retry.times : count("retry.times", options.retry.times, 0),
      base: time("retry.base", options.retry?.base ?? defaults.retry.base),
      cap: time("retry.cap", options.retry?.cap ?? defaults.retry.cap)
    },
    budget: {
      percent: positive("budget.percent", options.budget?.percent ?? defaults.budget.percent),
      minPerSecond: positive("budget.minPerSecond", options.budget?.minPerSecond ?? defaults.budget.minPerSecond),
      ttl: time("budget.ttl", options.budget?.ttl ?? defaults.budget.ttl)
    },
    breaker: {
      enabled: options.breaker?.enabled ?? defaults.breaker.enabled,
      consecutiveFailures: count(
        "breaker.consecutiveFailures",
        options.breaker?.consecutiveFailures ?? defaults.breaker.consecutiveFailures,
        1
      ),
      openFor: time("breaker.openFor", options.breaker?.openFor ?? defaults.breaker.openFor),
      halfOpenPermits: count(
        "breaker.halfOpenPermits",
        options.breaker?.halfOpenPermits ?? defaults.breaker.halfOpenPermits,
        1
      )
    },
    samplingRetry: samplingRetryOf(options.samplingRetry),
    telemetry: options.telemetry ?? true,
    tracing: options.tracing ?? true,
    propagation: options.propagation ?? false
  }
  return Object.assign(Object.create(SettingsProto), settings)
}

/**
 * Settings from options alone. Fails with `InvalidInput`, which names the option, the variable that stands in for it and
 * what would be right.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Settings, InvalidInput> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(settingsOf(options))
    } catch (cause) {
      return cause instanceof InvalidInput ? Effect.fail(cause) : Effect.die(cause)
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
  cloudflareAccess: clientId === undefined && keyOf(clientSecret) === undefined
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
 * `ConfigProvider`). An unreadable variable fails with an `InvalidInput` that names it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeConfig = (options: Options = {}): Effect.Effect<Settings, InvalidInput> =>
  Effect.flatMap(
    Effect.mapError(environment, (error) => {
      const { _op, message, path } = firstProblem(error)
      return new InvalidInput({
        field: path.join("."),
        expected: message,
        actual: _op === "MissingData" ? "none" : "something else"
      })
    }),
    (fromEnvironment) => make({ ...fromEnvironment, ...defined(options) })
  )

type Problem = Exclude<ConfigError.ConfigError, ConfigError.And | ConfigError.Or>

const firstProblem = (error: ConfigError.ConfigError): Problem =>
  error._op === "And" || error._op === "Or" ? firstProblem(error.left) : error

/**
 * The settings of the given options as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<TinkexConfig, InvalidInput> =>
  Layer.effect(TinkexConfig, make(options))

/**
 * The settings of the given options, completed from the environment, as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (options: Options = {}): Layer.Layer<TinkexConfig, InvalidInput> =>
  Layer.effect(TinkexConfig, makeConfig(options))

const rounds = (() => {
  const constants = new Uint32Array(64)
  const isPrime = (n: number): boolean => {
    for (let d = 2; d * d <= n; d++) if (n % d === 0) return false
    return true
  }
  const fraction = (root: number): number => (root - Math.floor(root)) * 2 ** 32
  const initial = new Uint32Array(8)
  for (let n = 2, i = 0; i < 64; n++) {
    if (!isPrime(n)) continue
    if (i < 8) initial[i] = fraction(Math.sqrt(n))
    constants[i++] = fraction(Math.cbrt(n))
  }
  return { constants, initial }
})()

/** SHA-256 (FIPS 180-4) in hex. Synchronous and without a platform: `crypto.subtle` is neither on every origin. */
const sha256 = (message: string): string => {
  const bytes = new TextEncoder().encode(message)
  const padded = new Uint8Array((bytes.length + 9 + 63) & ~63)
  padded.set(bytes)
  padded[bytes.length] = 0x80
  const view = new DataView(padded.buffer)
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29))
  view.setUint32(padded.length - 4, bytes.length * 8)
  const state = rounds.initial.slice()
  const w = new Uint32Array(64)
  const rotate = (x: number, n: number): number => (x >>> n) | (x << (32 - n))
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(block + 4 * i)
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15]!
      const y = w[i - 2]!
      w[i] = w[i - 16]! + (rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)) + w[i - 7]! +
        (rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10))
    }
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number] // eight words
    for (let i = 0; i < 64; i++) {
      const t1 =
        (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + rounds.constants[i]! + w[i]!) | 0
      const t2 = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + t1) | 0
      d = c
      c = b
      b = a
      a = (t1 + t2) | 0
    }
    const words = [a, b, c, d, e, f, g, h]
    for (let i = 0; i < 8; i++) state[i] = state[i]! + words[i]!
  }
  return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("")
}
