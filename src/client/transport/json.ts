/** JSON bodies, both ways. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Json from "../../protocol/Json.js"
import * as ParseProblem from "../../protocol/ParseProblem.js"
import { MalformedResponse, requestIdOf, type TransportError } from "../../TinkexError.js"
import type { Redactor } from "./redact.js"
import type { Answer, Body } from "./types.js"

const encoder = new TextEncoder()

export const jsonBody = (value: unknown): Body => ({
  bytes: encoder.encode(Json.stringify(value)),
  contentType: "application/json"
})

export const parse = (text: string, operation: string, requestId?: string): Effect.Effect<unknown, MalformedResponse> =>
  Effect.mapError(
    Json.parse(text),
    () => new MalformedResponse({ operation, detail: text === "" ? "it is empty" : "it is not JSON", requestId })
  )

export const decode = <A, I>(
  body: unknown,
  schema: Schema.Schema<A, I>,
  operation: string,
  requestId: string | undefined,
  redact: Redactor
): Effect.Effect<A, MalformedResponse> =>
  Effect.suspend(() =>
    Either.match(Schema.decodeUnknownEither(schema)(body), {
      onLeft: (error) =>
        Effect.fail(new MalformedResponse({ operation, detail: redact(ParseProblem.describe(error)), requestId })),
      onRight: Effect.succeed
    })
  )

export const decodeAnswer = <A, I>(
  answer: Answer,
  schema: Schema.Schema<A, I>,
  operation: string,
  redact: Redactor
): Effect.Effect<A, TransportError> => {
  const requestId = requestIdOf(answer.headers, redact)
  return answer.body._tag === "Bytes"
    ? Effect.fail(
      new MalformedResponse({ operation, detail: "it is binary", status: answer.status, requestId })
    )
    : Effect.flatMap(
      parse(answer.body.text, operation, requestId),
      (body) => decode(body, schema, operation, requestId, redact)
    )
}
