/**
 * Sessions: what belongs to one client, for as long as it is heard of.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { CreateSessionRequest, FinishSessionRequest } from "../../protocol/Session.js"
import { forbidden, gone, notFound, type Refusal, tooMany } from "../http/refusal.js"
import { uuid } from "../http/uuid.js"
import { ServerConfig } from "../ServerConfig.js"
import { judging, monotonic, wall } from "../time.js"
import { checkTexts, metadataOf, sizeOf } from "./metadata.js"
import * as Trace from "./Trace.js"

/**
 * A session. What was made in it, runs and samplers, lives in its scope, which closes when the session is finished or
 * expires.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session {
  readonly id: string
  /** Milliseconds since the epoch, for people. */
  readonly createdAt: number
  readonly scope: Scope.Scope
  readonly userMetadata: Readonly<Record<string, string>>
  readonly displayName: string | undefined
  /** What its operations did and when. */
  readonly trace: Trace.Trace
  projectId: string | undefined
  /** What has to be done before the scope closes when the client says that it is through. */
  readonly beforeEnd: Set<Effect.Effect<void>>
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
  /** Ends a session. The first reason stays. Its runs do what they have been given; then they and its samplers go. */
  readonly finish: (id: string, request: FinishSessionRequest) => Effect.Effect<void, Refusal>
  /** Waits until everything of finished sessions is gone. */
  readonly released: Effect.Effect<void>
  /** All sessions that are remembered, newest first. */
  readonly list: Effect.Effect<ReadonlyArray<Session>>
}>() {}

/** Sessions that ended are remembered for listings, up to this many, and up to so many characters of metadata. */
const rememberedSessions = 10_000
const rememberedMetadata = 16 * 1024 * 1024

/** A session as this module sees it. */
interface Kept extends Session {
  readonly scope: Scope.CloseableScope
}

const expired = (id: string, after: Duration.Duration): string =>
  `Session ${id} has expired: it was not heard of for ${Duration.format(after)}. Create a new one`

const make: Effect.Effect<Context.Tag.Service<Sessions>, never, ServerConfig | Scope.Scope> = Effect.gen(
  function*() {
    const config = yield* ServerConfig
    const scope = yield* Effect.scope
    const expiry = Duration.toMillis(config.sessionExpiry)
    const sessions = new Map<string, Kept>()
    const releasing = new Set<Fiber.RuntimeFiber<void>>()
    let alive = 0
    let metadata = 0

    const end = (session: Kept): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (session.expired) return Effect.void
        session.expired = true
        alive--
        return Scope.close(session.scope, Exit.void)
      })

    const forget = () => {
      for (const [id, session] of sessions) {
        if (sessions.size <= rememberedSessions && metadata <= rememberedMetadata) return
        if (!session.expired) continue
        sessions.delete(id)
        metadata -= sizeOf(session.userMetadata)
      }
    }

    const now = yield* judging(
      Duration.max(Duration.seconds(1), Duration.times(config.sessionExpiry, 0.1)),
      (now) =>
        Effect.suspend(() => {
          forget()
          return Effect.forEach(
            [...sessions.values()].filter((session) => !session.expired && session.lastSeen + expiry <= now),
            end,
            { discard: true }
          )
        })
    )

    const find = (id: string) =>
      Effect.suspend(() => {
        const session = sessions.get(id)
        return session === undefined
          ? Effect.fail(notFound("No session of that id is known here"))
          : Effect.succeed(session)
      })

    const touch = (session: Session) =>
      Effect.map(now, (now) => {
        session.lastSeen = now
        return session
      })

    const create: Context.Tag.Service<Sessions>["create"] = Effect.fnUntraced(function*(request) {
      if (alive >= config.limits.sessions) {
        return yield* tooMany(`The server holds ${config.limits.sessions} sessions and takes no more`, 10)
      }
      const userMetadata = yield* metadataOf(request.userMetadata)
      yield* checkTexts({ display_name: request.displayName, project_id: request.projectId })
      const id = yield* uuid
      const session: Kept = {
        id,
        trace: Trace.make(id, yield* monotonic),
        createdAt: yield* wall,
        scope: yield* Scope.fork(scope, ExecutionStrategy.sequential),
        userMetadata,
        displayName: request.displayName,
        projectId: request.projectId,
        beforeEnd: new Set(),
        lastSeen: yield* now,
        finished: undefined,
        expired: false
      }
      alive++
      metadata += sizeOf(userMetadata)
      sessions.set(session.id, session)
      forget()
      return session
    })

    const active: Context.Tag.Service<Sessions>["active"] = Effect.fnUntraced(function*(id) {
      const session = yield* Effect.mapError(
        find(id),
        () => forbidden("Invalid session_id: no session of that id is known here. Create a new one")
      )
      if (session.finished !== undefined) {
        return yield* forbidden(`Session ${id} was finished by its client and takes nothing more. Create a new one`)
      }
      return session.expired ? yield* forbidden(expired(id, config.sessionExpiry)) : yield* touch(session)
    })

    const finish: Context.Tag.Service<Sessions>["finish"] = (id, request) =>
      Effect.gen(function*() {
        yield* checkTexts({ detail: request.detail })
        const session = yield* find(id)
        if (session.finished !== undefined) return
        session.finished = request
        const release = Effect.zipRight(
          Effect.forEach([...session.beforeEnd], (one) => one, { discard: true, concurrency: "unbounded" }),
          end(session)
        )
        const fiber = yield* Effect.forkIn(Effect.interruptible(release), scope)
        releasing.add(fiber)
        fiber.addObserver(() => releasing.delete(fiber))
      }).pipe(Effect.uninterruptible)

    return {
      create,
      get: find,
      active,
      heartbeat: (id) =>
        Effect.flatMap(find(id), (session) =>
          session.finished !== undefined
            ? Effect.fail(gone(`Session ${id} was finished by its client`))
            : session.expired
            ? Effect.fail(notFound(expired(id, config.sessionExpiry)))
            : Effect.asVoid(touch(session))),
      finish,
      released: Effect.suspend(() => Effect.forEach([...releasing], Fiber.await, { discard: true })),
      list: Effect.sync(() => [...sessions.values()].reverse())
    }
  }
)

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Sessions, never, ServerConfig> = Layer.scoped(Sessions, make)
