/** The credential in force: the key, or short-lived tokens that it is exchanged for (docs/protocol/transport.md#keys-and-tokens). */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { AuthTokenResponse } from "../../protocol/Service.js"
import type { TransportError } from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import { decodeAnswer, jsonBody } from "./json.js"
import type { Redactor } from "./redact.js"
import type { Answer, Request } from "./types.js"

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

const refreshAhead = 300_000
const leastLeft = 60_000
const afterFailure = 60_000
const leastWait = 10_000

interface Token {
  readonly jwt: Redacted.Redacted
  /** In monotonic milliseconds. */
  readonly receivedAt: number
  /** How long it holds, in milliseconds, if that is known. */
  readonly life: number | undefined
}

/** Read against the server's own clock, where it is told: ours may be hours wrong. */
const lifeOf = (jwt: Redacted.Redacted, date: string | undefined, wall: number): number | undefined => {
  const { exp, iat } = claimsOf(jwt)
  if (typeof exp !== "number") return undefined
  const server = Date.parse(date ?? "")
  return exp * 1000 - (Number.isNaN(server) ? typeof iat === "number" ? iat * 1000 : wall : server)
}

export interface Credentials {
  readonly current: () => Redacted.Redacted | undefined
  /** Whether it should be renewed before it is sent again. */
  readonly isStale: () => boolean
  readonly renew: Effect.Effect<void>
  /** The service refused this credential. Says whether there may be a better one: a token may have expired while we were away. */
  readonly refused: (used: Redacted.Redacted | undefined) => boolean
  /** Exchanges the key for tokens, and keeps them fresh until the scope closes. */
  readonly useTokens: Effect.Effect<void, TransportError, Scope.Scope>
}

export const make = (
  clock: Clock.Clock,
  key: Redacted.Redacted | undefined,
  redact: Redactor,
  call: <A>(
    request: Request,
    read: (answer: Answer) => Effect.Effect<A, TransportError>
  ) => Effect.Effect<A, TransportError>
): Credentials => {
  let token: Token | undefined
  let scope: Scope.Scope | undefined
  let refreshing: Deferred.Deferred<void, TransportError> | undefined
  const now = () => Monotonic.millisOf(clock)

  const operation = "auth/token"
  const exchange: Effect.Effect<void, TransportError> = Effect.suspend(() =>
    call({
      operation,
      method: "POST",
      path: "auth/token",
      pool: "service",
      body: jsonBody({}),
      credential: key ?? Redacted.make("")
    }, (answer) =>
      Effect.map(decodeAnswer(answer, AuthTokenResponse, operation, redact), ({ jwt }) => {
        redact.learn(jwt)
        token = {
          jwt,
          receivedAt: now(),
          life: lifeOf(jwt, answer.headers["date"], clock.unsafeCurrentTimeMillis())
        }
      }))
  )

  /** One exchange at a time, whoever asks; it goes on when the one who asked goes away. */
  const refresh = Effect.suspend((): Effect.Effect<void, TransportError> => {
    if (scope === undefined) return Effect.void
    if (refreshing !== undefined) return Deferred.await(refreshing)
    const mine = Deferred.unsafeMake<void, TransportError>(FiberId.none)
    refreshing = mine
    const run = exchange.pipe(
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

  const leftOf = ({ life, receivedAt }: Token): number => (life ?? 0) - (now() - receivedAt)

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
  const next: Effect.Effect<never> = Effect.suspend(() => {
    const wait = token?.life === undefined ? leastLeft : Math.max(leastWait, leftOf(token) - refreshAhead)
    return keep(wait)
  })

  return {
    current: () => token === undefined ? key : token.jwt,
    isStale: () => token !== undefined && leftOf(token) <= leastLeft,
    renew: Effect.catchAll(
      refresh,
      (error) => Effect.logWarning(`the token could not be renewed; the old one is sent: ${error.message}`)
    ),
    refused: (used) => {
      if (token === undefined) return false
      if (used === token.jwt) token = { ...token, life: 0 }
      return true
    },
    useTokens: Effect.gen(function*() {
      // outlives the session, whose end is told with a credential too
      scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))
      yield* exchange
      yield* Effect.forkScoped(Effect.interruptible(next))
    })
  }
}
