/**
 * JSON out of files that may hold anything.
 */
import * as Predicate from "effect/Predicate"
import { fail } from "./problem.js"

export type JsonObject = Readonly<Record<string, unknown>>

/** The object that a text is; `what` names it in the message of a failure. */
export const parseObject = (text: string, what: string): JsonObject => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return fail("Malformed", `${what} is not JSON`)
  }
  return isObject(value) ? value : fail("Malformed", `${what} is not a JSON object`)
}

export const isObject = (u: unknown): u is JsonObject => Predicate.isReadonlyRecord(u)
