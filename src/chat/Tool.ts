/**
 * Tools that a model may call: what it is told of them, and what becomes of its calls.
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as JSONSchema from "effect/JSONSchema"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { describe } from "../protocol/ParseProblem.js"
import * as Message from "./Message.js"

/**
 * What a model is told of a tool: its name, what it is for and, as JSON Schema of an object, what it takes.
 *
 * @since 0.2.0
 * @category models
 */
export interface ToolSpec {
  readonly name: string
  readonly description: string
  readonly parameters: { readonly [key: string]: unknown }
}

/**
 * A tool: what the model is told of it, and the function behind it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Tool<out A, out R = never> {
  readonly spec: ToolSpec
  /** The arguments of a call as a value. Fails when they are no JSON or not what the tool takes. */
  readonly decode: (call: Message.ToolCall) => Effect.Effect<A, ToolCallError>
  /** The tool's answer to a call. A call that cannot be decoded and a handler that fails are answers too: the model reads them. */
  readonly run: (call: Message.ToolCall) => Effect.Effect<Message.Message, never, R>
}

/**
 * Why a call could not be made. `detail` says where in the arguments, and never holds them.
 *
 * @since 0.2.0
 * @category errors
 */
export class ToolCallError extends Data.TaggedError("ToolCallError")<{
  readonly tool: string
  readonly detail: string
}> {
  override get message(): string {
    return `tool ${this.tool}: ${this.detail}`
  }
}

/**
 * A tool whose parameters are a Schema: from it come the JSON Schema that the model is told and the decoding of its calls.
 * What the handler returns becomes the text of the answer: a string as it is, anything else as JSON.
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Tool } from "tinkex"
 *
 * const weather = Tool.make({
 *   name: "weather",
 *   description: "The weather of a city",
 *   parameters: Schema.Struct({ city: Schema.String }),
 *   handler: ({ city }) => Effect.succeed(`It is sunny in ${city}.`)
 * })
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <A, I, E, R>(options: {
  readonly name: string
  readonly description: string
  readonly parameters: Schema.Schema<A, I>
  readonly handler: (parameters: A) => Effect.Effect<unknown, E, R>
}): Tool<A, R> => {
  const parameters = inlined(JSONSchema.make(options.parameters))
  const decodeJson = Schema.decodeUnknown(options.parameters)
  const decode = (call: Message.ToolCall): Effect.Effect<A, ToolCallError> =>
    parse(call.arguments).pipe(
      Effect.flatMap((value) => Effect.mapError(decodeJson(value), describe)),
      Effect.mapError((detail) => new ToolCallError({ tool: options.name, detail }))
    )
  return {
    spec: { name: options.name, description: options.description, parameters },
    decode,
    run: (call) =>
      decode(call).pipe(
        Effect.flatMap(options.handler),
        Effect.map(said),
        Effect.catchAll((error) => Effect.succeed(`error: ${reason(error)}`)),
        Effect.map((content) => Message.toolResult(call, content))
      )
  }
}

type JsonObject = { readonly [key: string]: unknown }

const isObject = (u: unknown): u is JsonObject => Predicate.isReadonlyRecord(u)

/** The schema with its definitions where they are used: models and templates read types, not references. Recursive ones stay. */
const inlined = (schema: object): JsonObject => {
  const { $defs, $schema: _, ...rest } = schema as JsonObject // JSON Schema is an object of JSON
  const definitions = isObject($defs) ? $defs : {}
  let recursive = false
  const resolve = (value: unknown, within: ReadonlyArray<string>): unknown => {
    if (Array.isArray(value)) return value.map((one) => resolve(one, within))
    if (!isObject(value)) return value
    const ref = typeof value["$ref"] === "string" ? value["$ref"].replace("#/$defs/", "") : undefined
    if (ref !== undefined && Object.hasOwn(definitions, ref)) {
      if (!within.includes(ref)) return resolve(definitions[ref], [...within, ref])
      recursive = true
    }
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, resolve(field, within)]))
  }
  const resolved = resolve(rest, []) as JsonObject // of an object, an object
  return recursive ? { ...rest, $defs } : resolved
}

/** Models write no arguments at all for tools that take none. */
const parse = (text: string): Effect.Effect<unknown, string> =>
  text.trim() === ""
    ? Effect.succeed({})
    : Effect.try({ try: (): unknown => JSON.parse(text), catch: () => "the arguments are not JSON" })

const said = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value) ?? ""

const reason = (error: unknown): string =>
  error instanceof ToolCallError ? error.detail : error instanceof Error ? error.message : said(error)

/**
 * What is told of a tool without a function behind it, from a Schema of its parameters.
 *
 * @since 0.2.0
 * @category constructors
 */
export const spec = <A, I>(options: {
  readonly name: string
  readonly description: string
  readonly parameters: Schema.Schema<A, I>
}): ToolSpec => make({ ...options, handler: () => Effect.void }).spec

/**
 * The answers to all calls of a message, in order, run at the same time (`concurrency` limits it). A call of a tool that
 * there is not, and what could not be read as a call, are answered with what was wrong, so that the model can try again.
 * A tool that dies is answered so too; interruption goes through.
 *
 * @since 0.2.0
 * @category combinators
 */
export const runAll = <R>(
  tools: ReadonlyArray<Tool<unknown, R>>,
  message: Message.Message,
  options: { readonly concurrency?: number | "unbounded" | undefined } = {}
): Effect.Effect<ReadonlyArray<Message.Message>, never, R> =>
  Effect.map(
    Effect.forEach(message.toolCalls ?? [], (call) => {
      const tool = tools.find(({ spec }) => spec.name === call.name)
      return tool === undefined
        ? Effect.succeed(Message.toolResult(call, `error: there is no tool of this name; there are ${names(tools)}`))
        : tool.run(call).pipe(Effect.catchAllDefect((defect) =>
          Effect.as(
            Effect.logWarning(`tool ${call.name} died`, Cause.die(defect)),
            Message.toolResult(call, "error: the tool failed")
          )
        ))
    }, { concurrency: options.concurrency ?? "unbounded" }),
    (answers) => [
      ...answers,
      ...(message.unparsedToolCalls ?? []).map((call): Message.Message => ({
        role: "tool",
        name: "error",
        content: `error: this could not be read as a tool call (${call.error})`
      }))
    ]
  )

const names = (tools: ReadonlyArray<Tool<unknown, never> | Tool<unknown, unknown>>): string =>
  tools.length === 0 ? "none" : tools.map(({ spec }) => spec.name).join(", ")

/** A tool in the shape of the OpenAI API, `{type: "function", function}`, or bare. */
const Wire = Schema.Struct({
  name: Schema.String,
  description: Schema.optional(Schema.NullOr(Schema.String)),
  parameters: Schema.optional(Schema.NullOr(Schema.Record({ key: Schema.String, value: Schema.Unknown })))
})

const WireOrFunction = Schema.Union(
  Schema.Struct({ type: Schema.optional(Schema.String), function: Wire }),
  Wire
)

const SpecType = Schema.declare(
  (u): u is ToolSpec => Predicate.hasProperty(u, "name") && Predicate.hasProperty(u, "parameters"),
  { identifier: "ToolSpec" }
)

/**
 * A tool in the shape of the OpenAI API: `{ type: "function", function: { name, description, parameters } }`; read without the
 * wrapper too.
 *
 * @since 0.2.0
 * @category schemas
 */
export const FromOpenAi: Schema.Schema<ToolSpec, typeof WireOrFunction.Encoded> = Schema.transform(
  WireOrFunction,
  SpecType,
  {
    strict: true,
    decode: (wire) => {
      const tool = "function" in wire ? wire.function : wire
      return { name: tool.name, description: tool.description ?? "", parameters: tool.parameters ?? {} }
    },
    encode: (tool) => ({ type: "function", function: tool })
  }
)
