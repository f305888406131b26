/** Spans of the methods of clients, for tracers that do something with them. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { attributes } from "../observability/Spans.js"
import type { Settings } from "../TinkexConfig.js"
import { silent } from "./transport/spans.js"

type Attributes = Readonly<Record<string, unknown>>

/** A method, whose attributes are asked for only where somebody traces; `result` are those of what it gave. */
export interface MethodSpan {
  <A, E, R>(
    name: string,
    given: () => Attributes,
    self: Effect.Effect<A, E, R>,
    result?: (value: A) => Attributes
  ): Effect.Effect<A, E, R>
}

const known = (given: Attributes): Attributes =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))

const untraced: MethodSpan = (_name, _given, self) => self

const traced: MethodSpan = (name, given, self, result) =>
  Effect.tracerWith((tracer) =>
    tracer === silent
      ? self
      : Effect.useSpan(name, { captureStackTrace: false, attributes: known(given()) }, (span) =>
        Effect.map(Effect.withParentSpan(self, span), (value) => {
          for (const [key, one] of Object.entries(known(result?.(value) ?? {}))) span.attribute(key, one)
          return value
        }))
  )

export const methodSpan = (settings: Settings): MethodSpan => settings.tracing ? traced : untraced

/** The ids of the requests behind a future. */
export const requestIds = (future: { readonly requestIds: ReadonlyArray<string> }): Attributes => ({
  [attributes.requestId]: future.requestIds.join(",")
})

/** Tokens of an input in any of its forms, or of what is none. */
export const tokensIn = (input: unknown): number => {
  const lengthOf = (list: unknown): number =>
    Predicate.hasProperty(list, "length") && typeof list.length === "number" ? list.length : 0
  if (!Predicate.hasProperty(input, "chunks") || !Array.isArray(input.chunks)) return lengthOf(input)
  let count = 0
  for (const chunk of input.chunks) count += Predicate.hasProperty(chunk, "tokens") ? lengthOf(chunk.tokens) : 0
  return count
}

const tokensOf = (datum: unknown): number => Predicate.hasProperty(datum, "modelInput") ? tokensIn(datum.modelInput) : 0

/** Counts of training data, which may be anything yet. */
export const sizes = (data: unknown): Attributes =>
  Array.isArray(data)
    ? {
      [attributes.examples]: data.length,
      [attributes.tokens]: data.reduce((sum: number, datum: unknown) => sum + tokensOf(datum), 0)
    }
    : {}
