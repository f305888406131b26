/**
 * Who may ask.
 *
 * @internal
 */
import type * as Headers from "@effect/platform/Headers"
import * as Redacted from "effect/Redacted"
import { equal } from "./hash.js"
import { Refusal } from "./refusal.js"

/** The key that a request carries: `X-API-Key`, as all clients of the protocol send it, or a bearer token. */
const keyOf = (headers: Headers.Headers): string | undefined => {
  const header = headers["x-api-key"] ?? ""
  return header === "" ? /^bearer +(\S+)$/i.exec(headers["authorization"] ?? "")?.[1] : header
}

/**
 * Why a request is turned away, if it is. The comparison takes as long for a wrong key as for the right one.
 *
 * @internal
 */
export const unauthorized = (
  headers: Headers.Headers,
  apiKey: Redacted.Redacted | undefined,
  isToken: (text: string) => boolean
): Refusal | undefined => {
  if (apiKey === undefined) return undefined
  const key = keyOf(headers)
  if (key === undefined) return new Refusal({ status: 401, detail: "This server needs a key: send it as X-API-Key" })
  return equal(key, Redacted.value(apiKey)) || isToken(key)
    ? undefined
    : new Refusal({ status: 401, detail: "The key in X-API-Key is not the key of this server" })
}
