/**
 * Settings of the embedded server.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { InvalidInput } from "../protocol/InvalidInput.js"
import { known } from "../protocol/options.js"
import * as Service from "../protocol/Service.js"

/**
 * What can be set. Everything has a default, see `defaults`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Where checkpoints and run records are kept. Absent: a temporary directory that goes with the server. */
  readonly dataDir?: string | undefined
  /** Requests must carry it in `X-API-Key` (or as a bearer token). Absent: any key, and none, is accepted. */
  readonly apiKey?: Redacted.Redacted | undefined
  /**
   * The URL that links to files begin with, for servers behind a proxy. Absent: the address under which the connection
   * reached the server. What requests say of their host is never used.
   */
  readonly publicUrl?: string | undefined
  /** Take `load_weights` only as a run's first operation, as the hosted service does (docs/protocol/training.md#order). */
  readonly strictLoad?: boolean | undefined
  /** Take losses whose formula is not public, and compute a stand-in for them (docs/protocol/training.md#stand-ins). */
  readonly experimentalLosses?: boolean | undefined
  /** How long `retrieve_future` is held before it answers 408. Clients give up at 45 s (docs/protocol/futures.md#answers-to-a-poll). */
  readonly longPoll?: Duration.DurationInput | undefined
  /** How long a result can be read again after it is there; then 410. */
  readonly resultRetention?: Duration.DurationInput | undefined
  /** A session ends after this long without a heartbeat or request (docs/protocol/sessions.md#heartbeats). */
  readonly sessionExpiry?: Duration.DurationInput | undefined
  /** How long an absent `seq_id` holds up the operations behind it. */
  readonly gapTimeout?: Duration.DurationInput | undefined
  /** Other names under which models can be asked for, as `{ alias: model }`. Listed in the capabilities under both. */
  readonly aliases?: Readonly<Record<string, string>> | undefined
  /** Flags of `client/config` that differ from the server's own choice. */
  readonly clientConfig?: Partial<Service.ClientConfig> | undefined
  readonly limits?: Partial<Limits> | undefined
}

/**
 * Bounds on what clients can make the server hold or do.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  /** Bytes of a request body, after decompression; beyond it 413. */
  readonly bodyBytes: number
  /** Bytes of all bodies that are being received at one time; beyond it 429. */
  readonly uploadBytes: number
  /** Training runs in memory at one time. */
  readonly models: number
  /** Samplers in the engine at one time; others wait on disk and are brought back when they are asked. */
  readonly samplers: number
  /** Operations of one run that wait; from there on polls say `paused_capacity`, at eight times as many 429. */
  readonly queuedOperations: number
  /** Sample requests that wait or run; beyond it 429. */
  readonly queuedSamples: number
  /** Sample requests that run at one time. */
  readonly concurrentSamples: number
  /** Sessions that have not ended. */
  readonly sessions: number
  /** Results with a larger body are announced first when the client allows it (docs/protocol/futures.md#answers-to-a-poll). */
  readonly inlineResultBytes: number
  /** Bytes of results kept for reading again; beyond it those that were read go, oldest first. */
  readonly resultBytes: number
  /** Bytes of results; from there on new work gets 429, and at twice as many those that nobody reads go, oldest first. */
  readonly unreadResultBytes: number
}

/**
 * @since 0.1.0
 * @category constants
 */
export const defaultLimits: Limits = {
  bodyBytes: 64 * 1024 * 1024,
  uploadBytes: 512 * 1024 * 1024,
  models: 64,
  samplers: 64,
  queuedOperations: 256,
  queuedSamples: 4096,
  concurrentSamples: 256,
  sessions: 1024,
  inlineResultBytes: 1024 * 1024,
  resultBytes: 256 * 1024 * 1024,
  unreadResultBytes: 512 * 1024 * 1024
}

/**
 * The settings with everything filled in.
 *
 * @since 0.1.0
 * @category services
 */
export class ServerConfig extends Context.Tag("tinkex/server/ServerConfig")<ServerConfig, {
  readonly dataDir: string | undefined
  readonly apiKey: Redacted.Redacted | undefined
  readonly publicUrl: string | undefined
  readonly strictLoad: boolean
  readonly experimentalLosses: boolean
  readonly longPoll: Duration.Duration
  readonly resultRetention: Duration.Duration
  readonly sessionExpiry: Duration.Duration
  readonly gapTimeout: Duration.Duration
  readonly aliases: Readonly<Record<string, string>>
  readonly clientConfig: Service.ClientConfig
  readonly limits: Limits
}>() {}

/**
 * The settings that `options` gives.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Context.Tag.Service<ServerConfig> => ({
  dataDir: options.dataDir,
  apiKey: options.apiKey,
  publicUrl: options.publicUrl,
  strictLoad: options.strictLoad ?? false,
  experimentalLosses: options.experimentalLosses ?? false,
  longPoll: Duration.decode(options.longPoll ?? "25 seconds"),
  resultRetention: Duration.decode(options.resultRetention ?? "15 minutes"),
  sessionExpiry: Duration.decode(options.sessionExpiry ?? "300 seconds"),
  gapTimeout: Duration.decode(options.gapTimeout ?? "5 seconds"),
  aliases: options.aliases ?? {},
  clientConfig: {
    ...Service.clientConfigDefaults,
    usePyqwestTransport: false,
    createModelViaLoadWeights: true,
    sampleJoinSamplingSession: true,
    ...options.clientConfig
  },
  limits: { ...defaultLimits, ...options.limits }
})

/**
 * A setting that cannot be. Nothing was started.
 *
 * @since 0.2.0
 * @category errors
 */
export class SettingError extends Data.TaggedError("SettingError")<{
  readonly field: string
  readonly expected: string
  readonly actual: string
}> {
  override get message() {
    return `${this.field}: expected ${this.expected}, got ${this.actual}`
  }
}

/**
 * Refuses settings that cannot be, and names that none of them has.
 *
 * @since 0.2.0
 * @category constructors
 */
export const check = (options: Options): Effect.Effect<void, SettingError> =>
  Effect.gen(function*() {
    const refuse = (field: string, expected: string, actual: string) => new SettingError({ field, expected, actual })
    yield* Effect.try({
      try: () => {
        optionNames(options)
        limitNames(options.limits, "limits")
      },
      // nothing else is thrown by the checks of names
      catch: (cause) => new SettingError(cause as InvalidInput)
    })
    const { apiKey, limits = {}, publicUrl } = options
    if (apiKey !== undefined) {
      const key = Redacted.value(apiKey)
      if (!/^[!-~]+$/.test(key)) {
        return yield* refuse(
          "apiKey",
          "a key of printable characters",
          key.trim() === "" ? "an empty one" : "another text"
        )
      }
    }
    if (publicUrl !== undefined && !/^https?:\/\/[^/?#]+[^?#]*$/.test(publicUrl)) {
      return yield* refuse("publicUrl", "the beginning of a URL, as https://host/path", publicUrl)
    }
    for (const field of durations) {
      const given = options[field]
      if (given !== undefined && Option.isNone(Duration.decodeUnknown(given))) {
        return yield* refuse(field, "a duration, as \"30 seconds\"", String(given))
      }
    }
    for (const [name, value] of Object.entries(limits)) {
      if (value !== undefined && (!Number.isSafeInteger(value) || value < 1)) {
        return yield* refuse(`limits.${name}`, "a whole number from 1", String(value))
      }
    }
  })

const durations = ["longPoll", "resultRetention", "sessionExpiry", "gapTimeout"] as const

const optionNames = known<Options>("the server", {
  dataDir: true,
  apiKey: true,
  publicUrl: true,
  strictLoad: true,
  experimentalLosses: true,
  longPoll: true,
  resultRetention: true,
  sessionExpiry: true,
  gapTimeout: true,
  aliases: true,
  clientConfig: true,
  limits: true
})

const limitNames = known<Limits>("the server's limits", {
  bodyBytes: true,
  uploadBytes: true,
  models: true,
  samplers: true,
  queuedOperations: true,
  queuedSamples: true,
  concurrentSamples: true,
  sessions: true,
  inlineResultBytes: true,
  resultBytes: true,
  unreadResultBytes: true
})

/**
 * Those of the given options that are the server's.
 *
 * @internal
 */
export const pick = optionNames.pick

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<ServerConfig, SettingError> =>
  Layer.effect(ServerConfig, Effect.map(check(options), () => make(options)))
