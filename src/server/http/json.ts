/**
 * Bodies of JSON, decoded with errors that name the field and no value.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { isUtf8 } from "node:buffer"
import * as Json from "../../protocol/Json.js"
import * as ParseProblem from "../../protocol/ParseProblem.js"
import { badRequest, type Refusal } from "./refusal.js"

/** How deep arrays and objects may lie in one another. What the protocol says needs eight. */
const maxDepth = 64

const quote = 0x22
const backslash = 0x5c
const openArray = 0x5b
const openObject = 0x7b
const closeArray = 0x5d
const closeObject = 0x7d

/** Whether a byte occurs more than `times` times. */
const occurs = (bytes: Buffer, byte: number, times: number): boolean => {
  let at = -1
  for (let i = 0; i <= times; i++) {
    at = bytes.indexOf(byte, at + 1)
    if (at < 0) return false
  }
  return true
}

/**
 * Whether JSON lies too deep, found out before it is parsed: parsers take time and memory for each level. Bytes that are
 * no JSON may give either answer.
 *
 * @internal
 */
const isTooDeep = (bytes: Buffer, limit: number): boolean => {
  // few brackets cannot lie deep, and to count them is much faster than to look at every byte
  if (!occurs(bytes, openArray, limit / 2) && !occurs(bytes, openObject, limit / 2)) return false
  let depth = 0
  let inText = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    if (inText) {
      if (byte === backslash) i++
      else if (byte === quote) inText = false
    } else if (byte === quote) inText = true
    else if (byte === openArray || byte === openObject) {
      if (++depth > limit) return true
    } else if (byte === closeArray || byte === closeObject) depth--
  }
  return false
}

const byteOrderMark = Buffer.of(0xef, 0xbb, 0xbf)

/**
 * The body as JSON; an empty one is `{}`.
 *
 * @internal
 */
export const parseJson = (bytes: Uint8Array): Effect.Effect<unknown, Refusal> =>
  Effect.suspend(() => {
    if (bytes.length === 0) return Effect.succeed({})
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const body = whole.subarray(0, 3).equals(byteOrderMark) ? whole.subarray(3) : whole
    if (!isUtf8(body)) return Effect.fail(badRequest("The body is not UTF-8 text"))
    if (isTooDeep(body, maxDepth)) {
      return Effect.fail(
        badRequest(`The body: expected at most ${maxDepth} arrays and objects in one another, got more`)
      )
    }
    return Effect.mapError(Json.parse(body.toString("utf8")), () => badRequest("The body is not valid JSON"))
  })

/** @internal */
export const decode = <A, I>(schema: Schema.Schema<A, I>): (input: unknown) => Effect.Effect<A, Refusal> => {
  const run = Schema.decodeUnknown(schema)
  return (input) => Effect.mapError(run(input), (error) => badRequest(ParseProblem.describe(error)))
}
