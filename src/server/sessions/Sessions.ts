/**
 * Sessions: what belongs to one client, for as long as it is heard of.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type { CreateSessionRequest, FinishSessionRequest } from "../../protocol/Session.js"
import { forbidden, gone, notFound, type Refusal, tooMany } from "../http/refusal.js"
import { uuid } from "../http/uuid.js"
import { ServerConfig } from "../ServerConfig.js"
import { stringValues } from "./metadata.js"

/**
 * A session. What was made in it, runs and samplers, lives in its scope, which closes when the session expires.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session {
  readonly id: string
  readonly createdAt: number
  readonly scope: Scope.Scope
  readonly userMetadata: Readonly<Record<string, string>>
  readonly displayName: string | undefined
  projectId: string | undefined
  lastSeen: number
  /** How the client said that it ended. */
  finished: FinishSessionRequest | undefined
  expired: boolean
}

/**
 * @since 0.1.0
 * @category services
 */
export class Sessions extends Context.Tag("tinkex/server/Sessions")<Sessions, {
  readonly create: (request: CreateSessionRequest) => Effect.Effect<Session, Refusal>
  /** A session in which new things may be done; counts as a sign of life. */
  readonly active: (id: string) => Effect.Effect<Session, Refusal>
  /** A session in any state. */
  readonly get: (id: string) => Effect.Effect<Session, Refusal>
  /** 404 when it is unknown or has expired, 410 when it was finished. */
  readonly heartbeat: (id: string) => Effect.Effect<void, Refusal>
  /** Ends a session. The first reason stays. Its runs and samplers go when it would have expired. */
  readonly finish: (id: string, request: FinishSessionRequest) => Effect.Effect<void, Refusal>
  /** All sessions that are remembered, newest first. */
  readonly list: Effect.Effect<ReadonlyArray<Session>>
}>() {}

/** Sessions that ended are remembered for listings, up to this many. */
const rememberedSessions = 10_000

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Context.Tag.Service<Sessions>, never, ServerConfig | Scope.Scope> = Effect.gen(
  function*() {
    const config = yield* ServerConfig
    const scope = yield* Effect.scope
    const expiry = Duration.toMillis(config.sessionExpiry)
    const sessions = new Map<string, Session & { readonly scope: Scope.CloseableScope }>()
    let alive = 0

    const expire = (session: Session & { readonly scope: Scope.CloseableScope }) =>
      Effect.suspend(() => {
        if (session.expired) return Effect.void
        session.expired = true
        alive--
        return Scope.close(session.scope, Exit.void)
      })

    const sweep = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.suspend(() => {
        for (const [id, session] of sessions) {
          if (sessions.size <= rememberedSessions) break
          if (session.expired) sessions.delete(id)
        }
        return Effect.forEach(
          [...sessions.values()].filter((session) => !session.expired && session.lastSeen + expiry <= now),
          expire,
          { discard: true }
        )
      }))

    const get = (id: string) =>
      Effect.suspend(() => {
        const session = sessions.get(id)
        return session === undefined
          ? Effect.fail(notFound("No session of that id is known here"))
          : Effect.succeed(session)
      })

    const touch = (session: Session) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        session.lastSeen = now
        return session
      })

    const expired = (id: string) =>
      `Session ${id} has expired: it was not heard of for ${Duration.format(config.sessionExpiry)}. Create a new one`

    yield* sweep.pipe(
      Effect.schedule(Schedule.spaced(Duration.max(Duration.seconds(1), Duration.times(config.sessionExpiry, 0.1)))),
      Effect.interruptible,
      Effect.forkScoped
    )

    return {
      create: (request) =>
        Effect.gen(function*() {
          if (alive >= config.limits.sessions) {
            return yield* tooMany(`The server holds ${config.limits.sessions} sessions and takes no more`, 10)
          }
          const id = yield* uuid
          const now = yield* Clock.currentTimeMillis
          const session = {
            id,
            createdAt: now,
            scope: yield* Scope.fork(scope, ExecutionStrategy.sequential),
            userMetadata: stringValues(request.userMetadata),
            displayName: request.displayName,
            projectId: request.projectId,
            lastSeen: now,
            finished: undefined,
            expired: false
          }
          alive++
          sessions.set(id, session)
          return session
        }),
      get,
      active: (id) =>
        Effect.flatMap(
          Effect.mapError(get(id), () =>
            forbidden("Invalid session_id: no session of that id is known here. Create a new one")),
          (session) =>
            session.expired
              ? Effect.fail(forbidden(expired(id)))
              : session.finished !== undefined
              ? Effect.fail(
                forbidden(`Session ${id} was finished by its client and takes nothing more. Create a new one`)
              )
              : touch(session)
        ),
      heartbeat: (id) =>
        Effect.flatMap(get(id), (session) =>
          session.finished !== undefined
            ? Effect.fail(gone(`Session ${id} was finished by its client`))
            : session.expired
            ? Effect.fail(notFound(expired(id)))
            : Effect.asVoid(touch(session))),
      finish: (id, request) =>
        Effect.map(get(id), (session) => {
          session.finished ??= request
        }),
      list: Effect.sync(() => [...sessions.values()].reverse())
    }
  }
)

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Sessions, never, ServerConfig> = Layer.scoped(Sessions, make)
