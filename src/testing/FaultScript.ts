/**
 * What goes wrong and when: rules by endpoint, count, probability and seed, written in TypeScript or as JSON, for tests of
 * programs against the embedded server and for `tinkex serve --faults`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { type Fault as Injected, FaultInjector, type FaultPoint } from "../server/FaultInjector.js"
import * as internal from "./internal/faultScript.js"

/** Milliseconds, or text such as `"250 millis"` and `"2 seconds"`. */
const Wait = Schema.transformOrFail(Schema.Union(Schema.Number, Schema.String), Schema.DurationFromSelf, {
  strict: true,
  decode: (input, _, ast) => {
    const decoded = Duration.decodeUnknown(input)
    return decoded._tag === "Some" && Duration.isFinite(decoded.value)
      ? ParseResult.succeed(decoded.value)
      : ParseResult.fail(
        new ParseResult.Type(
          ast,
          input,
          `expected milliseconds or a text such as "2 seconds", got ${JSON.stringify(input)}`
        )
      )
  },
  encode: (duration) => ParseResult.succeed(Duration.toMillis(duration))
})

const When = Schema.optionalWith(Schema.Literal("before", "after"), { default: () => "before" as const })
const Count = Schema.Int.pipe(Schema.nonNegative())
const Positive = Schema.Int.pipe(Schema.positive())
const Headers = Schema.Record({ key: Schema.String, value: Schema.String })

/**
 * What goes wrong.
 *
 * - `latency`: a wait, before anything is done, when an operation was applied and its result is not told yet, or before the
 *   answer.
 * - `rateLimited`: 429, with `retry-after-ms` if `retryAfter` is given. Nothing is done.
 * - `status`: another answer, before or after the work was done. On `retrieve_future`: 404, 408 and 410.
 * - `reset`: the connection breaks, before or after the work was done.
 * - `truncated`: the connection breaks after that many bytes of the answer.
 * - `malformed`: an answer of the right type that cannot be decoded.
 * - `slowDrip`: the answer comes in pieces of `bytes`, one every `interval`.
 * - `sessionExpired`: 404 to heartbeats, 403 to everything else, as a server answers whose session has expired.
 * - `storageFailure`: a step of writing a checkpoint fails.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Fault = Schema.Union(
  Schema.Struct({
    type: Schema.Literal("latency"),
    duration: Wait,
    when: Schema.optionalWith(Schema.Literal("before", "applied", "after"), { default: () => "before" as const })
  }),
  Schema.Struct({ type: Schema.Literal("rateLimited"), retryAfter: Schema.optional(Wait) }),
  Schema.Struct({
    type: Schema.Literal("status"),
    status: Schema.Int.pipe(Schema.between(400, 599)),
    when: When,
    headers: Schema.optional(Headers),
    detail: Schema.optional(Schema.String)
  }),
  Schema.Struct({ type: Schema.Literal("reset"), when: When }),
  Schema.Struct({ type: Schema.Literal("truncated"), bytes: Schema.optionalWith(Count, { default: () => 1 }) }),
  Schema.Struct({ type: Schema.Literal("malformed") }),
  Schema.Struct({ type: Schema.Literal("slowDrip"), bytes: Positive, interval: Wait }),
  Schema.Struct({ type: Schema.Literal("sessionExpired") }),
  Schema.Struct({
    type: Schema.Literal("storageFailure"),
    step: Schema.optional(Schema.Literal("directory", "write", "sync", "rename", "remove"))
  })
)

/**
 * @since 0.1.0
 * @category models
 */
export type Fault = typeof Fault.Type

const Endpoint = Schema.String.pipe(
  Schema.filter(internal.isEndpoint, {
    message: ({ actual }) => `expected the last fixed part of a route, as "asample", got ${JSON.stringify(actual)}`
  })
)

/**
 * The last fixed part of a route: `forward_backward`, `asample`, `retrieve_future`, `session_heartbeat`.
 *
 * @since 0.1.0
 * @category models
 */
export type Endpoint = typeof Endpoint.Type

/**
 * A fault, and where and how often it is injected. Of the requests that it matches, the first `skip` are left alone; then
 * each begins, with this `probability`, a series of `burst` faults; `count` ends it. Without any of these every request is hit.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Rule = Schema.Struct({
  /** One or several; all unless given. */
  endpoint: Schema.optional(Schema.Union(Endpoint, Schema.NonEmptyArray(Endpoint))),
  fault: Fault,
  /** How many matching requests to leave alone at first. Default 0. */
  skip: Schema.optionalWith(Count, { default: () => 0 }),
  /** The most faults in all. No limit unless given. */
  count: Schema.optional(Count),
  /** In [0, 1]. Default 1. */
  probability: Schema.optionalWith(Schema.Number.pipe(Schema.between(0, 1)), { default: () => 1 }),
  /** How many matching requests in a row are hit once one is. Default 1. */
  burst: Schema.optionalWith(Positive, { default: () => 1 })
})

/**
 * @since 0.1.0
 * @category models
 */
export type Rule = typeof Rule.Type

/**
 * Rules and the seed of their dice. For one seed and one order of requests the faults are the same every time.
 *
 * @since 0.1.0
 * @category schemas
 */
export const FaultScript = Schema.Struct({
  /** Default 0. */
  seed: Schema.optionalWith(Schema.Int, { default: () => 0 }),
  rules: Schema.Array(Rule)
})

/**
 * @since 0.1.0
 * @category models
 */
export type FaultScript = typeof FaultScript.Type

/**
 * A script that cannot be used, and why.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidFaultScript extends Data.TaggedError("InvalidFaultScript")<{
  /** Each begins with its place, as `rules.2.fault.status`. */
  readonly problems: ReadonlyArray<string>
}> {
  override get message(): string {
    return `the fault script cannot be used: ${this.problems.join("; ")}`
  }
}

/**
 * How often a rule was asked about a request that it matches, and how often it injected its fault.
 *
 * @since 0.1.0
 * @category models
 */
export interface Counts {
  readonly rule: Rule
  readonly seen: number
  readonly injected: number
}

/**
 * What has been injected so far.
 *
 * @since 0.1.0
 * @category services
 */
export class Injections extends Context.Tag("tinkex/testing/Injections")<Injections, {
  /** Per rule, in the order of the script. */
  readonly counts: Effect.Effect<ReadonlyArray<Counts>>
  readonly total: Effect.Effect<number>
}>() {}

/**
 * A script from its parts.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  rules: ReadonlyArray<Rule>,
  options: { readonly seed?: number | undefined } = {}
): FaultScript => ({
  seed: options.seed ?? 0,
  rules
})

/**
 * A script from what JSON gives. Unknown fields, endpoints and faults are refused, each named with its place.
 *
 * @since 0.1.0
 * @category constructors
 */
export const decode = (input: unknown): Effect.Effect<FaultScript, InvalidFaultScript> =>
  Effect.mapError(
    decodeUnknown(input),
    (error) => new InvalidFaultScript({ problems: internal.problemsOf(error) })
  )

const decodeUnknown = Schema.decodeUnknown(FaultScript, { onExcessProperty: "error", errors: "all" })

/**
 * A script from the text of a JSON file.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (text: string): Effect.Effect<FaultScript, InvalidFaultScript> =>
  Effect.flatMap(
    Effect.try({
      try: (): unknown => JSON.parse(text),
      catch: (cause) =>
        new InvalidFaultScript({ problems: [`not JSON: ${cause instanceof Error ? cause.message : ""}`] })
    }),
    decode
  )

/**
 * A rule for one endpoint, several, or (`"all"`) every one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const on = (
  endpoint: Endpoint | readonly [Endpoint, ...Array<Endpoint>] | "all",
  fault: Fault,
  options: Partial<Pick<Rule, "skip" | "count" | "probability" | "burst">> = {}
): Rule => ({
  ...(endpoint === "all" ? {} : { endpoint }),
  fault,
  skip: options.skip ?? 0,
  count: options.count,
  probability: options.probability ?? 1,
  burst: options.burst ?? 1
})

/**
 * @since 0.1.0
 * @category faults
 */
export const latency = (duration: Duration.DurationInput, when: "before" | "applied" | "after" = "before"): Fault => ({
  type: "latency",
  duration: Duration.decode(duration),
  when
})

/**
 * @since 0.1.0
 * @category faults
 */
export const rateLimited = (options: { readonly retryAfter?: Duration.DurationInput | undefined } = {}): Fault => ({
  type: "rateLimited",
  retryAfter: options.retryAfter === undefined ? undefined : Duration.decode(options.retryAfter)
})

/**
 * @since 0.1.0
 * @category faults
 */
export const status = (
  status: number,
  options: {
    readonly when?: "before" | "after" | undefined
    readonly headers?: Readonly<Record<string, string>> | undefined
    readonly detail?: string | undefined
  } = {}
): Fault => ({
  type: "status",
  status,
  when: options.when ?? "before",
  headers: options.headers,
  detail: options.detail
})

/**
 * @since 0.1.0
 * @category faults
 */
export const reset = (when: "before" | "after" = "before"): Fault => ({ type: "reset", when })

/**
 * @since 0.1.0
 * @category faults
 */
export const truncated = (bytes = 1): Fault => ({ type: "truncated", bytes })

/**
 * @since 0.1.0
 * @category faults
 */
export const malformed: Fault = { type: "malformed" }

/**
 * @since 0.1.0
 * @category faults
 */
export const slowDrip = (bytes: number, interval: Duration.DurationInput): Fault => ({
  type: "slowDrip",
  bytes,
  interval: Duration.decode(interval)
})

/**
 * @since 0.1.0
 * @category faults
 */
export const sessionExpired: Fault = { type: "sessionExpired" }

/**
 * @since 0.1.0
 * @category faults
 */
export const storageFailure = (
  step?: "directory" | "write" | "sync" | "rename" | "remove"
): Fault => ({ type: "storageFailure", step })

/**
 * The server that is built with this layer misbehaves as the script says: `Layer.provide` it to `TestServer.layer` or to any
 * other layer of a server.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (script: FaultScript): Layer.Layer<Injections | FaultInjector> =>
  Layer.effectContext(Effect.sync(() => {
    const { counts, decide } = internal.start(script)
    const injector = (point: FaultPoint): Effect.Effect<ReadonlyArray<Injected>> => Effect.sync(() => decide(point))
    return Context.make(FaultInjector, injector).pipe(
      Context.add(Injections, {
        counts: Effect.sync(counts),
        total: Effect.sync(() => counts().reduce((sum, { injected }) => sum + injected, 0))
      })
    )
  }))
