/** What is refused before anything is sent. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { InvalidInput } from "../../protocol/InvalidInput.js"
import { shown } from "../../protocol/numbers.js"

export const refuse = (field: string, expected: string, actual: string) =>
  Effect.fail(new InvalidInput({ field, expected, actual }))

export const checkScope = (scope: unknown) =>
  scope === undefined || scope === "owned" || scope === "accessible"
    ? Effect.void
    : refuse("accessScope", "owned or accessible", shown(scope))

export const checkCount = (field: string, value: number | undefined, least: number, most: number) =>
  value === undefined || value === Number.POSITIVE_INFINITY && most === Number.POSITIVE_INFINITY ||
    (Number.isSafeInteger(value) && value >= least && value <= most)
    ? Effect.void
    : refuse(
      field,
      `a whole number from ${least}${most === Number.POSITIVE_INFINITY ? "" : ` to ${most}`}`,
      shown(value)
    )

export const checkId = (field: string, id: string) =>
  typeof id === "string" && id.trim() !== "" ? Effect.void : refuse(field, "an id", "nothing")

/** Whole seconds, from 1. */
export const secondsOf = (ttl: Duration.DurationInput): Effect.Effect<number, InvalidInput> =>
  Effect.suspend(() => {
    const duration = Duration.decodeUnknown(ttl)
    if (Option.isNone(duration)) return refuse("ttl", "a duration of whole seconds, from 1", shown(ttl))
    const seconds = Duration.toSeconds(duration.value)
    return Number.isSafeInteger(seconds) && seconds >= 1
      ? Effect.succeed(seconds)
      : refuse("ttl", "whole seconds, from 1", Number.isFinite(seconds) ? `${seconds} s` : "no end")
  })
