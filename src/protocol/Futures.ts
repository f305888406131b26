/**
 * Requests whose result comes later, and the answers to polling for it.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { defaulted, Float, openLiteral, optional, required, typed } from "./internal/wire.js"

/**
 * Answer to a submission: the id to poll with. `sampleSequenceIds` has one id per sample of an `asample`, in the order of
 * the sequences in its result (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does).
 *
 * @since 0.1.0
 * @category schemas
 */
export const UntypedFuture = Schema.Struct({
  requestId: required(Schema.String, "request_id"),
  modelId: optional(Schema.String, "model_id"),
  sampleSequenceIds: optional(Schema.Array(Schema.String), "sample_sequence_ids")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface UntypedFuture extends Schema.Schema.Type<typeof UntypedFuture> {}

/**
 * Body of `POST /retrieve_future`. With `allowMetadataOnly` the server may answer the size of a large result first.
 *
 * @since 0.1.0
 * @category schemas
 */
export const RetrieveFutureRequest = Schema.Struct({
  requestId: required(Schema.String, "request_id"),
  allowMetadataOnly: defaulted(Schema.Boolean, "allow_metadata_only", () => false)
})

/**
 * @since 0.1.0
 * @category models
 */
export interface RetrieveFutureRequest extends Schema.Schema.Type<typeof RetrieveFutureRequest> {}

/**
 * What kind of request a future belongs to, the value of the header `X-Tinker-Request-Type` (docs/protocol/transport.md#headers).
 *
 * @since 0.1.0
 * @category models
 */
export type RequestType =
  | "CreateModel"
  | "Forward"
  | "ForwardBackward"
  | "OptimStep"
  | "SaveWeights"
  | "SaveWeightsForSampler"
  | "SaveWeightsExternal"
  | "LoadWeights"
  | "UnloadModel"
  | "Sample"

/**
 * Whether a queue is moving. Anything that is not known here reads as `unknown`.
 *
 * @since 0.1.0
 * @category models
 */
export type QueueState = "active" | "paused_capacity" | "paused_rate_limit" | "unknown"

/**
 * Whose fault a failed request is. Anything that is not known here reads as `unknown`.
 *
 * @since 0.1.0
 * @category models
 */
export type ErrorCategory = "user" | "server" | "unknown"

/**
 * An answer to a poll in JSON, told apart: still pending, ready but large, failed, or the result itself.
 *
 * @since 0.1.0
 * @category models
 */
export type FutureAnswer =
  | { readonly _tag: "Pending"; readonly queueState: QueueState; readonly queueStateReason?: string | undefined }
  | { readonly _tag: "CompleteMetadata"; readonly responsePayloadSize: number }
  | { readonly _tag: "Failed"; readonly error: string; readonly category: ErrorCategory }
  | { readonly _tag: "Completed"; readonly value: unknown }

const queueStateOf = (u: unknown): QueueState =>
  u === "active" || u === "paused_capacity" || u === "paused_rate_limit" ? u : "unknown"

const categoryOf = (u: unknown): ErrorCategory => u === "user" || u === "server" ? u : "unknown"

/**
 * The state of the queue in a pending answer or in the body of a 408.
 *
 * @since 0.1.0
 * @category decoding
 */
export const pending = (body: unknown): Extract<FutureAnswer, { readonly _tag: "Pending" }> => {
  const reason = Predicate.hasProperty(body, "queue_state_reason") ? body.queue_state_reason : undefined
  return {
    _tag: "Pending",
    queueState: queueStateOf(Predicate.hasProperty(body, "queue_state") ? body.queue_state : undefined),
    ...(typeof reason === "string" && reason !== "" ? { queueStateReason: reason } : {})
  }
}

/**
 * Tells the JSON body of a successful poll apart, in the order of docs/protocol/futures.md#answers-to-a-poll. A body that is no object is a result.
 *
 * @since 0.1.0
 * @category decoding
 */
export const classify = (body: unknown): FutureAnswer => {
  if (Predicate.hasProperty(body, "type") && body.type === "try_again") return pending(body)
  if (Predicate.hasProperty(body, "status") && body.status === "complete_metadata") {
    const size = Predicate.hasProperty(body, "response_payload_size") ? body.response_payload_size : undefined
    return {
      _tag: "CompleteMetadata",
      responsePayloadSize: typeof size === "number" && size >= 0 ? size : 0
    }
  }
  if (Predicate.hasProperty(body, "error")) {
    return {
      _tag: "Failed",
      error: typeof body.error === "string" ? body.error : "the request failed without a message",
      category: categoryOf(Predicate.hasProperty(body, "category") ? body.category : undefined)
    }
  }
  return { _tag: "Completed", value: body }
}

/**
 * Answer to a poll: not yet.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TryAgain = typed("try_again", {
  requestId: required(Schema.String, "request_id"),
  queueState: required(openLiteral("active", "paused_capacity", "paused_rate_limit"), "queue_state"),
  queueStateReason: optional(Schema.String, "queue_state_reason")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface TryAgain extends Schema.Schema.Type<typeof TryAgain> {}

/**
 * Answer to a poll: the request failed. Final, whatever the category.
 *
 * @since 0.1.0
 * @category schemas
 */
export const RequestFailedBody = Schema.Struct({
  error: Schema.String,
  category: openLiteral("unknown", "server", "user")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface RequestFailedBody extends Schema.Schema.Type<typeof RequestFailedBody> {}

/**
 * Answer to a poll: the result is ready and this large, in bytes.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CompleteMetadata = Schema.Struct({
  status: Schema.Literal("complete_metadata"),
  responsePayloadSize: required(Schema.Int, "response_payload_size")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CompleteMetadata extends Schema.Schema.Type<typeof CompleteMetadata> {}

/**
 * Body of `POST /cancel_future`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CancelFutureRequest = Schema.Struct({ requestId: required(Schema.String, "request_id") })

/**
 * @since 0.1.0
 * @category models
 */
export interface CancelFutureRequest extends Schema.Schema.Type<typeof CancelFutureRequest> {}

/**
 * Body of `POST /retrieve_futures`: which requests of a sampling session are done (docs/protocol-notes.md#paths-that-were-open).
 *
 * @since 0.1.0
 * @category schemas
 */
export const RetrieveFuturesRequest = Schema.Struct({
  target: Schema.Struct({
    type: Schema.Literal("sampling_session"),
    samplingSessionId: required(Schema.String, "sampling_session_id"),
    clonedSamplerId: defaulted(Schema.Int, "cloned_sampler_id", () => 0)
  }),
  prevCursor: defaulted(Schema.Int, "prev_cursor", () => 0),
  timeout: optional(Float, "timeout"),
  retrievedRequestIds: defaulted(Schema.Array(Schema.String), "retrieved_request_ids", () => [])
})

/**
 * @since 0.1.0
 * @category models
 */
export interface RetrieveFuturesRequest extends Schema.Schema.Type<typeof RetrieveFuturesRequest> {}

/**
 * Answer of `POST /retrieve_futures`. `cursor` goes back as `prevCursor`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const RetrieveFuturesResponse = Schema.Struct({
  completions: Schema.Array(Schema.Struct({
    state: openLiteral("finished", "failed"),
    requestId: required(Schema.String, "request_id"),
    responsePayloadUncompressedSize: optional(Schema.Int, "response_payload_uncompressed_size")
  })),
  cursor: Schema.Int
})

/**
 * @since 0.1.0
 * @category models
 */
export interface RetrieveFuturesResponse extends Schema.Schema.Type<typeof RetrieveFuturesResponse> {}
