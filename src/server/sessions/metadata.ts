/**
 * What clients may have the server keep beside their work: bounded, for it is kept long.
 *
 * @internal
 */
import * as Either from "effect/Either"
import { badRequest, type Refusal } from "../http/refusal.js"

/** Characters of all keys and values of one record together. */
const maxMetadata = 32 * 1024

/** Characters of a name or a remark. */
const maxText = 1024

type Metadata = Readonly<Record<string, string>>

/** How much room metadata take. @internal */
export const sizeOf = (record: Metadata): number =>
  Object.entries(record).reduce((n, [key, value]) => n + key.length + value.length, 0)

/**
 * Metadata as answers must carry it: strings only; other values become their JSON.
 *
 * @internal
 */
export const metadataOf = (
  record: Readonly<Record<string, unknown>>,
  field = "user_metadata"
): Either.Either<Metadata, Refusal> => {
  const out: Record<string, string> = {}
  for (const [key, value] of Object.entries(record)) {
    out[key] = typeof value === "string" ? value : JSON.stringify(value, plain) ?? "null"
  }
  const size = sizeOf(out)
  return size <= maxMetadata
    ? Either.right(out)
    : Either.left(badRequest(`${field}: expected at most ${maxMetadata} characters in all, got ${size}`))
}

/**
 * Refuses texts that are too long to be kept, by their fields.
 *
 * @internal
 */
export const checkTexts = (
  texts: Readonly<Record<string, string | null | undefined>>
): Either.Either<void, Refusal> => {
  for (const [field, text] of Object.entries(texts)) {
    if ((text?.length ?? 0) > maxText) {
      return Either.left(badRequest(`${field}: expected at most ${maxText} characters, got ${text?.length}`))
    }
  }
  return Either.right(void 0)
}

/** Integers beyond 2^53 arrive as bigints, which JSON.stringify refuses. */
const plain = (_key: string, value: unknown): unknown => typeof value === "bigint" ? String(value) : value
