/**
 * What the server signs: bearer tokens, and links to files that need no key.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { monotonic, wall } from "../time.js"
import { equal, hmac, secret } from "./hash.js"

/** How long a bearer token and a link hold. What is told is by the clock of the machine, what counts is `monotonic`. */
const lifetime = 3_600_000

/** @internal */
export interface Tokens {
  /** A bearer token for the one user that there is. */
  readonly jwt: Effect.Effect<string>
  readonly isJwt: (text: string) => Effect.Effect<boolean>
  /** The last part of a link: what it leads to, until when, and that this server says so. Tells when it ends, too. */
  readonly link: (target: string) => Effect.Effect<{ readonly token: string; readonly expires: number }>
  /** Where a link leads, if it is of this server and has not expired. */
  readonly follow: (token: string) => Effect.Effect<string | undefined>
}

/** @internal */
export const Tokens = Context.GenericTag<Tokens>("tinkex/server/Tokens")

const encode = (text: string): string => Buffer.from(text).toString("base64url")
const decode = (text: string): string => Buffer.from(text, "base64url").toString()

/** @internal */
const make = (key: Uint8Array): Tokens => {
  const header = encode(JSON.stringify({ alg: "HS256", typ: "JWT" }))
  const signed = (text: string): string => `${text}.${hmac(key, text)}`
  const verified = (text: string): string | undefined => {
    const dot = text.lastIndexOf(".")
    return dot > 0 && equal(text, signed(text.slice(0, dot))) ? text.slice(0, dot) : undefined
  }
  return {
    jwt: Effect.zipWith(wall, monotonic, (now, start) => {
      const claims = {
        iss: "passport-local",
        sub: "tml:organization_user:local",
        org_id: "local",
        email: "",
        exp: Math.floor((now + lifetime) / 1000),
        until: start + lifetime
      }
      return signed(`${header}.${encode(JSON.stringify(claims))}`)
    }),
    isJwt: (text) =>
      Effect.map(monotonic, (now) => {
        const body = verified(text)
        if (body === undefined || !body.startsWith(`${header}.`)) return false
        // signed by this server, so it holds what `jwt` put in
        const claims: { readonly until: number } = JSON.parse(decode(body.slice(header.length + 1)))
        return claims.until > now
      }),
    link: (target) =>
      Effect.zipWith(wall, monotonic, (now, start) => ({
        token: signed(encode(`${start + lifetime} ${target}`)),
        expires: now + lifetime
      })),
    follow: (token) =>
      Effect.map(monotonic, (now) => {
        const body = verified(token)
        if (body === undefined || body.includes(".")) return undefined
        const text = decode(body)
        const space = text.indexOf(" ")
        return Number(text.slice(0, space)) > now ? text.slice(space + 1) : undefined
      })
  }
}

/** @internal */
export const layer: Layer.Layer<Tokens> = Layer.effect(Tokens, Effect.sync(() => make(secret())))
