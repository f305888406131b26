/**
 * Property signatures that rename a wire key and treat `null` as absent.
 *
 * @internal
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"

/** @internal */
export const required = <A, I, R, K extends string>(schema: Schema.Schema<A, I, R>, key: K) =>
  Schema.propertySignature(schema).pipe(Schema.fromKey(key))

/** @internal */
export const optional = <A, I, R, K extends string>(schema: Schema.Schema<A, I, R>, key: K) =>
  Schema.optionalWith(schema, { nullable: true }).pipe(Schema.fromKey(key))

/** @internal */
export const defaulted = <A, I, R, K extends string>(schema: Schema.Schema<A, I, R>, key: K, value: () => A) =>
  Schema.optionalWith(schema, { nullable: true, default: value }).pipe(Schema.fromKey(key))

/**
 * A struct whose wire form carries a constant `type`, always written and never required.
 *
 * @internal
 */
export const typed = <const T extends string, F extends Schema.Struct.Fields>(type: T, fields: F): Typed<F> => {
  const struct = Schema.Struct(fields)
  const from = Schema.extend(
    Schema.encodedSchema(struct as unknown as Schema.Schema<unknown, object>),
    Schema.Struct({ type: Schema.optional(Schema.NullOr(Schema.String)) })
  )
  return Schema.transform(from, struct as unknown as Schema.Schema<unknown, object>, {
    strict: true,
    decode: (wire) => Struct.omit(wire, "type"),
    encode: (wire) => ({ ...wire, type })
    // the generic struct's wire type is not known to the checker until its fields are
  }) as unknown as Typed<F>
}

/** @internal */
export type Typed<F extends Schema.Struct.Fields> = Schema.Schema<
  Schema.Simplify<Schema.Struct.Type<F>>,
  Schema.Simplify<Schema.Struct.Encoded<F>> & { readonly type?: string | null | undefined },
  Schema.Struct.Context<F>
>

/**
 * A string with known values that the peer may extend.
 *
 * @internal
 */
export const openLiteral = <const L extends ReadonlyArray<string>>(
  ...known: L
): Schema.Schema<L[number] | (string & {}), string> =>
  Schema.String.annotations({ examples: [...known] as never }) as never // a plain string; the known values serve completion

/**
 * The last member of a union told apart by `key`: what a newer peer sends and is not known here. `wire` is its tag; nothing
 * else of it is kept. Narrowing by the known tags works because this one is the literal `unknown`.
 *
 * @internal
 */
export const unknownMember = <const K extends string>(
  key: K
): Schema.Schema<
  Schema.Simplify<Readonly<Record<K, "unknown">> & { readonly wire: string }>,
  Readonly<Record<K, string>>
> =>
  Schema.transform(
    Schema.Struct({ [key]: Schema.String }),
    Schema.Struct({ [key]: Schema.Literal("unknown"), wire: Schema.String }),
    {
      strict: false,
      decode: (wire: Readonly<Record<string, string>>) => ({ [key]: "unknown", wire: wire[key] }),
      encode: (member: Readonly<Record<string, string>>) => ({ [key]: member["wire"] })
    }
    // a computed key is a string to the checker
  ) as never

/**
 * A finite number. A bigint, as which `Json.parse` gives a number that is written with more than 15 digits, is one too.
 *
 * @internal
 */
export const Float: Schema.Schema<number, number | bigint> = Schema.transform(
  Schema.declare((u): u is number | bigint => typeof u === "bigint" || Number.isFinite(u), {
    identifier: "WireFloat",
    arbitrary: () => (fc) => fc.double({ noNaN: true, noDefaultInfinity: true }),
    jsonSchema: { type: "number" }
  }),
  Schema.JsonNumber,
  { strict: true, decode: Number, encode: (value) => value }
)

/**
 * A number of a result: a run that diverged has NaN and infinity, which JSON from Python says in so many words (see `Json`).
 *
 * @internal
 */
export const ResultFloat: Schema.Schema<number, number | bigint> = Schema.transform(
  Schema.declare((u): u is number | bigint => typeof u === "bigint" || typeof u === "number", {
    identifier: "ResultFloat",
    arbitrary: () => (fc) => fc.double(),
    jsonSchema: { type: "number" }
  }),
  Schema.Number,
  { strict: true, decode: Number, encode: (value) => value }
)

const zoned = /(?:[zZ]|[+-]\d{2}:?\d{2})$/

/**
 * RFC 3339 text; text without a zone is UTC. Kept to the millisecond.
 *
 * @internal
 */
export const Timestamp: Schema.Schema<DateTime.Utc, string> = Schema.transformOrFail(
  Schema.String,
  Schema.DateTimeUtcFromSelf,
  {
    strict: true,
    decode: (text, _, ast) => {
      const millis = Date.parse(zoned.test(text) ? text : `${text.replace(" ", "T")}Z`)
      return Option.match(Number.isNaN(millis) ? Option.none() : DateTime.make(millis), {
        onNone: () => ParseResult.fail(new ParseResult.Type(ast, text, "Expected an RFC 3339 date")),
        onSome: ParseResult.succeed
      })
    },
    encode: (date) => ParseResult.succeed(DateTime.formatIso(date))
  }
).annotations({ identifier: "Timestamp", jsonSchema: { type: "string", format: "date-time" } })

/** @internal */
export const StringRecord = Schema.Record({ key: Schema.String, value: Schema.String })

/** @internal */
export const JsonRecord = Schema.Record({ key: Schema.String, value: Schema.Unknown })
