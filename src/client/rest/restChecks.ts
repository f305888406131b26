/** What is refused before anything is sent. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { InvalidInput } from "../../protocol/InvalidInput.js"

export const refuse = (field: string, expected: string, actual: string) =>
  Effect.fail(new InvalidInput({ field, expected, actual }))

export const checkScope = (scope: unknown) =>
  scope === undefined || scope === "owned" || scope === "accessible"
    ? Effect.void
    : refuse("accessScope", "owned or accessible", "something else")

export const checkCount = (field: string, value: number | undefined, least: number, most: number) =>
  value === undefined || value === Number.POSITIVE_INFINITY && most === Number.POSITIVE_INFINITY ||
    (Number.isSafeInteger(value) && value >= least && value <= most)
    ? Effect.void
    : refuse(
      field,
      `a whole number from ${least}${most === Number.POSITIVE_INFINITY ? "" : ` to ${most}`}`,
      "another number"
    )

export const checkId = (field: string, id: string) =>
  typeof id === "string" && id.trim() !== "" ? Effect.void : refuse(field, "an id", "nothing")

/** Whole seconds, from 1. */
export const secondsOf = (ttl: Duration.DurationInput): Effect.Effect<number, InvalidInput> =>
  Effect.suspend(() => {
    const seconds = Duration.toSeconds(ttl)
    return Number.isSafeInteger(seconds) && seconds >= 1
      ? Effect.succeed(seconds)
      : refuse("ttl", "whole seconds, from 1", Number.isFinite(seconds) ? `${seconds} s` : "no end")
  })
