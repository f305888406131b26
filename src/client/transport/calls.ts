/** A logical call on its way, and what kinds of calls there are. */
import type * as HttpBody from "@effect/platform/HttpBody"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type { Operation } from "../../observability/TelemetryEvent.js"
import type { OperationClass, TransportError } from "../../TinkexError.js"
import type { Answer, Delivery, Request } from "./types.js"

export const operationClasses: Readonly<Record<Operation, OperationClass>> = {
  training: "training",
  sampling: "sampling",
  futures: "poll",
  session: "session",
  service: "service",
  telemetry: "telemetry"
}

export const pools = Object.keys(operationClasses) as ReadonlyArray<Operation> // the keys of a total record

/** Kinds of calls that a breaker and the limiter have a say in. */
export const guardedPools: Readonly<Record<Operation, boolean>> = {
  training: true,
  sampling: true,
  futures: false,
  session: true,
  service: true,
  telemetry: false
}

export interface Call<A> {
  readonly request: Request
  readonly kind: OperationClass
  /** The template of the whole path. */
  readonly route: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: HttpBody.HttpBody
  /** What it weighs at its gate. */
  readonly weight: number
  readonly bytes: number
  readonly timeoutMillis: number
  /** Whether breaker and limiter have a say in it. */
  readonly guarded: boolean
  /** Repeats after the first attempt, at most. */
  readonly times: number
  readonly delivery: Delivery
  readonly read: (answer: Answer) => Effect.Effect<A, TransportError>
  /** Attempts that were made. */
  attempts: number
  /** What the last attempt carried. */
  credential: Redacted.Redacted | undefined
  /** How often it was sent again because a connection had been closed while it was idle. */
  resent: number
  /** Whether a refused credential has been renewed for it. */
  renewed: boolean
  /** When it has to have ended, in monotonic milliseconds; later after every pause for billing. */
  deadline: number
}
