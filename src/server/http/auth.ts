/**
 * Who may ask.
 *
 * @internal
 */
import type * as Headers from "@effect/platform/Headers"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { equal } from "./hash.js"
import { Refusal } from "./refusal.js"

/** The key that a request carries: `X-API-Key`, as all clients of the protocol send it, or a bearer token. */
const keyOf = (headers: Headers.Headers): string | undefined => {
  const header = headers["x-api-key"] ?? ""
  return header === "" ? /^bearer +(\S+)$/i.exec(headers["authorization"] ?? "")?.[1] : header
}

/**
 * Turns away who has no key. The comparison takes as long for a wrong key as for the right one.
 *
 * @internal
 */
export const authorize = (
  headers: Headers.Headers,
  apiKey: Redacted.Redacted | undefined,
  isToken: (text: string) => Effect.Effect<boolean>
): Effect.Effect<void, Refusal> => {
  if (apiKey === undefined) return Effect.void
  const key = keyOf(headers)
  if (key === undefined) {
    return Effect.fail(new Refusal({ status: 401, detail: "This server needs a key: send it as X-API-Key" }))
  }
  if (equal(key, Redacted.value(apiKey))) return Effect.void
  return Effect.filterOrFail(
    isToken(key),
    (good) => good,
    () => new Refusal({ status: 401, detail: "The key in X-API-Key is not the key of this server" })
  )
}
