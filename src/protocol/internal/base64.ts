/**
 * Standard padded base64 without `Buffer`, so that it runs in browsers.
 *
 * @internal
 */
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"

/** @internal */
export const encode = (bytes: Uint8Array): string => Encoding.encodeBase64(bytes)

/** @internal */
export const decode = (text: string): Uint8Array | undefined => Either.getOrUndefined(Encoding.decodeBase64(text))
