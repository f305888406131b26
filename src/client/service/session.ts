/** A session at the service: opened, kept alive, finished. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { TelemetryService } from "../../observability/Telemetry.js"
import * as Protocol from "../../protocol/Session.js"
import { encodeId } from "../../protocol/TinkerPath.js"
import { ClientClosed, type TransportError } from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import type { SessionState } from "../ServiceClient.js"
import { sdkVersion } from "../transport/headers.js"
import { jsonBody } from "../transport/json.js"
import type { InternalTransport } from "../transport/types.js"

export interface Session {
  readonly id: string
  readonly state: SubscriptionRef.SubscriptionRef<SessionState>
  /** Fails once the session is over. */
  readonly check: (operation: string) => Effect.Effect<void, ClientClosed>
}

const beatEvery = Duration.seconds(10)
const warnAfter = 120_000

/** What the server is told, from how the scope of the client ended. */
const reasonOf = (exit: Exit.Exit<unknown, unknown>): "success" | "errored" | "interrupted" =>
  Exit.isSuccess(exit) ? "success" : Cause.isInterruptedOnly(exit.cause) ? "interrupted" : "errored"

const encodeCreate = Schema.encodeSync(Protocol.CreateSessionRequest)
const encodeFinish = Schema.encodeSync(Protocol.FinishSessionRequest)

export const open = (
  transport: InternalTransport,
  telemetry: TelemetryService
): Effect.Effect<Session, TransportError, Scope.Scope> =>
  Effect.gen(function*() {
    const { settings } = transport
    const tenant = settings.tenant.label
    const created = yield* transport.json({
      operation: "create_session",
      method: "POST",
      path: "create_session",
      pool: "session",
      body: jsonBody(encodeCreate({
        tags: settings.tags,
        userMetadata: settings.userMetadata,
        sdkVersion,
        ...(settings.projectId === undefined ? {} : { projectId: settings.projectId }),
        ...(settings.displayName === undefined ? {} : { displayName: settings.displayName })
      }))
    }, Protocol.CreateSessionResponse)
    const id = created.sessionId
    const openedAt = yield* Monotonic.millis
    const wall = yield* Clock.currentTimeMillis
    const state = yield* SubscriptionRef.make<SessionState>({ _tag: "Live", lastSuccess: wall })
    let over = false
    yield* Effect.addFinalizer((exit) =>
      Effect.gen(function*() {
        over = true
        yield* SubscriptionRef.set(state, { _tag: "Ended", reason: "closed" })
        const finish = transport.send({
          operation: `finish (session ${id})`,
          method: "POST",
          path: `sessions/${encodeId(id)}/finish`,
          route: "sessions/{session_id}/finish",
          pool: "session",
          unguarded: true,
          times: 0,
          timeout: settings.timeouts.finish,
          body: jsonBody(encodeFinish({ reason: { type: reasonOf(exit) }, detail: null }))
        }).pipe(Effect.timeout(settings.timeouts.finish), Effect.ignore)
        // in a fiber of its own: this one may have been interrupted, and cannot be while it closes
        yield* Effect.flatMap(Effect.forkDaemon(Effect.interruptible(finish)), Fiber.await)
        const now = yield* Monotonic.millis
        yield* telemetry.emit({ _tag: "SessionEnd", tenant, sessionId: id, durationMs: now - openedAt })
      })
    )
    yield* telemetry.emit({ _tag: "SessionStart", tenant, sessionId: id })
    if (created.infoMessage !== undefined) yield* Effect.logInfo(transport.redact(created.infoMessage))
    if (created.warningMessage !== undefined) yield* Effect.logWarning(transport.redact(created.warningMessage))
    if (created.errorMessage !== undefined) yield* Effect.logError(transport.redact(created.errorMessage))

    const body = jsonBody({ session_id: id, type: "session_heartbeat" })
    const beat = transport.send({
      operation: `session_heartbeat (session ${id})`,
      method: "POST",
      path: "session_heartbeat",
      pool: "session",
      unguarded: true,
      times: 0,
      timeout: settings.timeouts.heartbeat,
      body
    })
    let failures = 0
    let lastSuccess = openedAt
    /** For people: in milliseconds since 1970. */
    let lastSuccessAt = wall
    let warned = openedAt
    const succeeded = Effect.gen(function*() {
      const before = failures
      lastSuccess = yield* Monotonic.millis
      lastSuccessAt = yield* Clock.currentTimeMillis
      warned = lastSuccess
      failures = 0
      yield* SubscriptionRef.set(state, { _tag: "Live", lastSuccess: lastSuccessAt })
      yield* telemetry.emit({ _tag: "SessionHeartbeat", tenant, sessionId: id })
      if (before > 0) yield* telemetry.emit({ _tag: "SessionRecovered", tenant, sessionId: id, failures: before })
      return true
    })
    const failed = (error: TransportError) =>
      Effect.gen(function*() {
        if ("status" in error && error.status === 410) {
          over = true
          yield* SubscriptionRef.set(state, { _tag: "Ended", reason: "finished at the service" })
          yield* Effect.logInfo(`session ${id} has been finished at the service; its heartbeats stop`)
          return false
        }
        const now = yield* Monotonic.millis
        failures++
        yield* SubscriptionRef.set(state, { _tag: "Degraded", lastSuccess: lastSuccessAt, failures, error })
        yield* telemetry.emit({
          _tag: "SessionHeartbeatFailed",
          tenant,
          sessionId: id,
          failures,
          sinceSuccessMs: now - lastSuccess,
          error: error._tag
        })
        if (now - warned >= warnAfter) {
          warned = now
          // that the server does not answer was told at once
          yield* Effect.logInfo(
            `session ${id}: no heartbeat has been answered for ${
              Duration.format(Duration.millis(now - lastSuccess))
            }; ` +
              `the service may end it. ${error.message}`
          )
        }
        return true
      })
    yield* Effect.sleep(beatEvery).pipe(
      Effect.zipRight(Effect.matchEffect(beat, { onFailure: failed, onSuccess: () => succeeded })),
      Effect.repeat({ while: (goOn) => goOn }),
      Effect.interruptible,
      Effect.forkScoped
    )
    return {
      id,
      state,
      check: (operation) =>
        Effect.suspend(() =>
          over
            ? Effect.fail(new ClientClosed({ operation, client: `session ${id}`, certainlyNotSent: true }))
            : Effect.void
        )
    }
  })
