/**
 * Answers that have to be JSON, of a schema where one is given: said to the model, read from its answer, checked, and asked for
 * again with what was wrong. The service cannot be told what tokens to allow, so that is how far a promise goes.
 *
 * @internal
 */
import { type Schema, Validator } from "@cfworker/json-schema"
import * as Message from "./Message.js"

/** How often an answer is asked for again. */
export const repeats = 3

/** A JSON Schema; without one any object. */
export type Format = { readonly schema: Readonly<Record<string, unknown>> | undefined }

const instruction = ({ schema }: Format): string =>
  schema === undefined
    ? "Answer with one JSON object and nothing else."
    : `Answer with one JSON value of this JSON Schema and nothing else:\n${JSON.stringify(schema)}`

/** The messages with what the answer has to be, in the system message. */
export const instruct = (
  messages: ReadonlyArray<Message.Message>,
  format: Format | undefined
): ReadonlyArray<Message.Message> => {
  if (format === undefined) return messages
  const told = instruction(format)
  const [first, ...rest] = messages
  return first?.role === "system"
    ? [{ ...first, content: `${Message.text(first)}\n\n${told}` }, ...rest]
    : [Message.system(told), ...messages]
}

const fence = /^\s*```(?:json)?\s*\n?([\s\S]*?)\n?```\s*$/

/** What an answer is: good, with the JSON alone, or bad, with what is wrong. */
export type Verdict =
  | { readonly _tag: "Good"; readonly text: string }
  | { readonly _tag: "Bad"; readonly reason: string }

/** Looks at an answer. Without a format every answer is good. */
export const check = (text: string, format: Format | undefined): Verdict => {
  if (format === undefined) return { _tag: "Good", text }
  const bare = (fence.exec(text)?.[1] ?? text).trim()
  let value: unknown
  try {
    value = JSON.parse(bare)
  } catch {
    return { _tag: "Bad", reason: "it is not JSON" }
  }
  if (format.schema === undefined) {
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? { _tag: "Good", text: bare }
      : { _tag: "Bad", reason: "it is JSON, but not an object" }
  }
  const { errors, valid } = new Validator(format.schema as Schema, "2020-12", false).validate(value) // a schema is an object
  return valid
    ? { _tag: "Good", text: bare }
    : {
      _tag: "Bad",
      reason: errors.slice(0, 5).map(({ error, instanceLocation }) => `${instanceLocation}: ${error}`).join("; ")
    }
}

/** The conversation with the answer that was wrong and why, for another try. */
export const again = (
  messages: ReadonlyArray<Message.Message>,
  answer: string,
  reason: string
): ReadonlyArray<Message.Message> => [
  ...messages,
  Message.assistant(answer),
  Message.user(`That is not what was asked for: ${reason}. Answer again with the JSON alone.`)
]
