/** Keys that are exchanged for short-lived tokens (docs/protocol/transport.md#keys-and-tokens). */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { AuthTokenResponse } from "../../protocol/Service.js"
import type { TransportError } from "../../TinkexError.js"
import type { InternalTransport } from "./transport.js"
import { jsonBody } from "./transport.js"

/** The claims of a JWT, unverified; nothing when it cannot be read. */
export const claimsOf = (jwt: Redacted.Redacted): Readonly<Record<string, unknown>> => {
  try {
    const part = Redacted.value(jwt).split(".")[1] ?? ""
    const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"))
    const claims: unknown = JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (c) => c.charCodeAt(0))))
    return Predicate.isRecord(claims) ? claims : {}
  } catch {
    return {}
  }
}

/** When it expires, in milliseconds since 1970. */
const expiryOf = (jwt: Redacted.Redacted): number | undefined => {
  const { exp } = claimsOf(jwt)
  return typeof exp === "number" ? exp * 1000 : undefined
}

const refreshAhead = 300_000
const leastLeft = 60_000
const afterFailure = 60_000
const leastWait = 10_000

/** Exchanges the key, and keeps the transport's credential fresh until the scope closes. */
export const useTokens = (
  transport: InternalTransport,
  key: Redacted.Redacted | undefined
): Effect.Effect<void, TransportError, Scope.Scope> =>
  Effect.gen(function*() {
    // outlives the session, whose end is told with a credential too
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))
    const exchange = Effect.map(
      transport.json({
        operation: "auth/token",
        method: "POST",
        path: "auth/token",
        pool: "service",
        body: jsonBody({}),
        credential: key ?? Redacted.make("")
      }, AuthTokenResponse),
      ({ jwt }) => jwt
    )
    let token = yield* exchange
    let refreshing: Deferred.Deferred<void, TransportError> | undefined

    /** One exchange at a time, whoever asks; it goes on when the one who asked goes away. */
    const refresh = Effect.suspend(() => {
      if (refreshing !== undefined) return Deferred.await(refreshing)
      const mine = Deferred.unsafeMake<void, TransportError>(FiberId.none)
      refreshing = mine
      const run = Effect.map(exchange, (jwt) => {
        token = jwt
      }).pipe(
        Effect.interruptible,
        Effect.exit,
        Effect.flatMap((exit) => {
          refreshing = undefined
          return Deferred.done(mine, exit)
        })
      )
      // started uninterruptibly, so that whoever waits gets an answer
      return Effect.zipRight(Effect.uninterruptible(Effect.forkIn(run, scope)), Deferred.await(mine))
    })

    const left = Effect.map(Clock.currentTimeMillis, (now) => (expiryOf(token) ?? now) - now)

    transport.credential = Effect.flatMap(left, (millis) =>
      millis > leastLeft
        ? Effect.succeed(token)
        : Effect.matchEffect(refresh, {
          onFailure: (error) =>
            Effect.as(
              Effect.logWarning(`the token could not be renewed; the old one is sent: ${error.message}`),
              token
            ),
          onSuccess: () => Effect.succeed(token)
        }))

    const keep = (wait: number): Effect.Effect<never> =>
      Effect.sleep(wait).pipe(
        Effect.zipRight(refresh),
        Effect.matchEffect({
          onFailure: (error) =>
            Effect.zipRight(
              Effect.logWarning(`the token could not be renewed yet: ${error.message}`),
              keep(afterFailure)
            ),
          onSuccess: () => next
        })
      )
    const next: Effect.Effect<never> = Effect.flatMap(
      left,
      (millis) => keep(Math.max(leastWait, expiryOf(token) === undefined ? leastLeft : millis - refreshAhead))
    )
    yield* Effect.forkScoped(Effect.interruptible(next))
  })
