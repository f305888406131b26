/**
 * Ids of answers, as the two APIs write them.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/** `call_` and twenty-four letters, from `Random`. */
export const newId = (
  prefix: string,
  joint = prefix === "chatcmpl" || prefix === "cmpl" ? "-" : "_"
): Effect.Effect<string> =>
  Effect.map(
    Effect.forEach(Array.from({ length: 24 }), () => Random.nextIntBetween(0, letters.length)),
    (places) => `${prefix}${joint}${places.map((place) => letters[place]).join("")}`
  )
