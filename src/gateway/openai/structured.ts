/**
 * Answers that have to be JSON, of a schema where one is given: said to the model, read from its answer, checked, and asked for
 * again with what was wrong. The service cannot be told what tokens to allow, so that is how far a promise goes.
 */
import { Validator } from "@cfworker/json-schema"
import * as Message from "../../chat/Message.js"
import type { ChatRequest } from "./request.js"

/** How often an answer is asked for again. */
export const repeats = 3

type Format = NonNullable<ChatRequest["response_format"]>

const instruction = (format: Format): string | undefined => {
  switch (format.type) {
    case "text":
      return undefined
    case "json_object":
      return "Answer with one JSON object and nothing else."
    case "json_schema":
      return "Answer with one JSON value of this JSON Schema and nothing else:\n" +
        JSON.stringify(format.json_schema.schema ?? {})
  }
}

/** The messages with what the answer has to be, in the system message. */
export const instruct = (
  messages: ReadonlyArray<Message.Message>,
  format: Format | null | undefined
): ReadonlyArray<Message.Message> => {
  const told = format == null ? undefined : instruction(format)
  if (told === undefined) return messages
  const [first, ...rest] = messages
  return first?.role === "system"
    ? [{ ...first, content: `${Message.text(first)}\n\n${told}` }, ...rest]
    : [Message.system(told), ...messages]
}

const fence = /^\s*```(?:json)?\s*\n?([\s\S]*?)\n?```\s*$/

/** The JSON of an answer, or what is wrong with it. */
export const check = (
  text: string,
  format: Format | null | undefined
): { readonly _tag: "Good"; readonly text: string } | { readonly _tag: "Bad"; readonly reason: string } => {
  if (format == null || format.type === "text") return { _tag: "Good", text }
  const bare = (fence.exec(text)?.[1] ?? text).trim()
  let value: unknown
  try {
    value = JSON.parse(bare)
  } catch {
    return { _tag: "Bad", reason: "it is not JSON" }
  }
  if (format.type === "json_object") {
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? { _tag: "Good", text: bare }
      : { _tag: "Bad", reason: "it is JSON, but not an object" }
  }
  const { errors, valid } = new Validator(format.json_schema.schema ?? {}, "2020-12", false).validate(value)
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
