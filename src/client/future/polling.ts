/** What is polled, and what is known of it while that lasts. */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Operation } from "../../observability/TelemetryEvent.js"
import type * as Futures from "../../protocol/Futures.js"
import type { MalformedMessage } from "../../protocol/MalformedMessage.js"
import type { TinkexError, TransportError } from "../../TinkexError.js"
import type { Pending } from "../ServiceClient.js"
import * as Json from "../transport/json.js"
import type { Redactor } from "../transport/redact.js"
import type { QueueObserver } from "./queueObserver.js"

/** A result: from protobuf where there is such a form, from JSON otherwise or from servers that know nothing else. */
export interface ResultType<A> {
  readonly name: Futures.RequestType
  readonly decode?: ((bytes: Uint8Array) => Effect.Effect<A, MalformedMessage>) | undefined
  readonly fromJson: (
    body: unknown,
    operation: string,
    requestId: string,
    redact: Redactor
  ) => Effect.Effect<A, TransportError>
}

export const resultType = <A, I>(
  name: Futures.RequestType,
  schema: Schema.Schema<A, I>,
  decode?: (bytes: Uint8Array) => Effect.Effect<A, MalformedMessage>
): ResultType<A> => ({
  name,
  decode,
  fromJson: (body, operation, id, redact) => Json.decode(body, schema, operation, id, redact)
})

export interface Accepted<A> {
  readonly operation: string
  readonly kind: Operation
  readonly requestId: string
  readonly result: ResultType<A>
  readonly observer: QueueObserver
  /** When the operation began, in monotonic milliseconds. */
  readonly startedAt: number
}

/** What is known of a request while it is polled. Times are monotonic milliseconds. */
export interface Polling {
  readonly requestId: string
  readonly operation: string
  readonly acceptedAt: number
  polls: number
  queueState: Futures.QueueState
  reason: string | undefined
  /** How long the queue has been watched without a change. Own absence is not watching. */
  unmoved: number
}

export const makePolling = (
  accepted: { readonly requestId: string; readonly operation: string },
  now: number
): Polling => ({
  requestId: accepted.requestId,
  operation: accepted.operation,
  acceptedAt: now,
  polls: 0,
  queueState: "unknown",
  reason: undefined,
  unmoved: 0
})

export const describe = (self: Polling, now: number): Pending => ({
  requestId: self.requestId,
  operation: self.operation,
  age: Duration.millis(Math.max(0, now - self.acceptedAt)),
  polls: self.polls,
  queueState: self.queueState,
  reason: self.reason
})

/** Whether nothing more can be learnt by asking again. */
export const isLast = (error: TinkexError): boolean =>
  error._tag === "RequestFailed" || error._tag === "FutureExpired" || error._tag === "ClientClosed"
