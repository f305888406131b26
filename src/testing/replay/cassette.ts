/**
 * What a cassette holds: a line of JSON for its kind, and one for each exchange, in the order in which the answers came.
 */
import * as Schema from "effect/Schema"

/** The kind of the file, and of what version. */
export const Header = Schema.Struct({
  cassette: Schema.Literal(1),
  /** The package that wrote it. */
  tinkex: Schema.String,
  recordedAt: Schema.String
})

/** A body as it was: JSON as JSON, so that a person can read it, other text as text, bytes as base64. */
export const Body = Schema.Union(
  Schema.Struct({ text: Schema.String }),
  Schema.Struct({ base64: Schema.String }),
  Schema.Struct({ none: Schema.Literal(true) }),
  // last: a field of unknown type may be absent, so it takes everything
  Schema.Struct({ json: Schema.Unknown })
)

export type Body = typeof Body.Type

/** One request and what came back: an answer, or that the connection failed. */
export const Exchange = Schema.Struct({
  request: Schema.Struct({
    method: Schema.String,
    /** Path and query, without the origin; of another origin than the service's, with it. */
    path: Schema.String,
    body: Body
  }),
  answer: Schema.Union(
    Schema.Struct({
      status: Schema.Int,
      headers: Schema.Record({ key: Schema.String, value: Schema.String }),
      body: Body
    }),
    Schema.Struct({ failure: Schema.Literal("Transport", "Encode", "InvalidUrl") })
  )
})

export type Exchange = typeof Exchange.Type

export type ExchangeRequest = Exchange["request"]

/** Of the headers of an answer: those that a client heeds. No cookie, no trace of a proxy. */
const kept = new Set([
  "content-type",
  "retry-after",
  "retry-after-ms",
  "x-should-retry",
  "x-request-id",
  "x-tinker-request-id",
  "location",
  "expires",
  "date"
])

/** The headers that are kept, by name. */
export const keepHeaders = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => kept.has(name.toLowerCase())).sort())
