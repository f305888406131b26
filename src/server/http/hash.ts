/**
 * Digests and signatures.
 *
 * @internal
 */
import * as Crypto from "node:crypto"

/** @internal */
export const sha256 = (...parts: ReadonlyArray<string | Uint8Array>): string => {
  const hash = Crypto.createHash("sha256")
  for (const part of parts) hash.update(part)
  return hash.digest("hex")
}

/** @internal */
export const hmac = (secret: Uint8Array, text: string): string =>
  Crypto.createHmac("sha256", secret).update(text).digest("base64url")

/**
 * Whether two texts are equal, in a time that tells nothing about either.
 *
 * @internal
 */
export const equal = (a: string, b: string): boolean =>
  Crypto.timingSafeEqual(Crypto.createHash("sha256").update(a).digest(), Crypto.createHash("sha256").update(b).digest())

/** @internal */
export const secret = (): Uint8Array => Crypto.randomBytes(32)
