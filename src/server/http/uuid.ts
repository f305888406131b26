/**
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/**
 * A random id in the form of a version 4 UUID.
 *
 * @internal
 */
export const uuid: Effect.Effect<string> = Effect.map(
  Effect.replicateEffect(Random.nextIntBetween(0, 0x10000), 8),
  (words) => {
    const hex = words.map((word, i) =>
      (i === 3 ? (word & 0x0fff) | 0x4000 : i === 4 ? (word & 0x3fff) | 0x8000 : word).toString(16).padStart(4, "0")
    )
    return `${hex[0]}${hex[1]}-${hex[2]}-${hex[3]}-${hex[4]}-${hex[5]}${hex[6]}${hex[7]}`
  }
)
