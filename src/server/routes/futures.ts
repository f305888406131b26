/**
 * Results by request id.
 *
 * @internal
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import { mediaType } from "../../protocol/ForwardBackwardCodec.js"
import { RetrieveFutureRequest } from "../../protocol/Futures.js"
import { Futures, type QueueState, type Result } from "../futures/Futures.js"
import { json, note, post } from "../http/http.js"
import { gone, notFound } from "../http/refusal.js"
import { ServerConfig } from "../ServerConfig.js"

/** @internal */
export const routes = Effect.gen(function*() {
  const config = yield* ServerConfig
  const futures = yield* Futures

  const ready = (result: Result, metadataOnly: boolean) =>
    Effect.gen(function*() {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const binary = result.protobuf !== undefined && headers["accept"]?.includes(mediaType) === true
      if (metadataOnly && result.bytes > config.limits.inlineResultBytes) {
        const size = binary ? (yield* result.protobuf).length : result.bytes
        return json({ status: "complete_metadata", response_payload_size: size })
      }
      return binary
        ? HttpServerResponse.uint8Array(yield* result.protobuf, { contentType: mediaType })
        : json(yield* result.json)
    })

  return [
    post("/retrieve_future", RetrieveFutureRequest, ({ allowMetadataOnly, requestId }) =>
      Effect.gen(function*() {
        yield* note({ requestId })
        const answer = yield* futures.poll(requestId)
        switch (answer._tag) {
          case "Ready":
            return yield* ready(answer.result, allowMetadataOnly)
          case "Failed":
            return json(answer.failure)
          case "Pending":
            return json(pendingBody(requestId, answer.queue), 408)
          case "Gone":
            return yield* gone("The result of this request is no longer kept. Submit the request again")
          case "Unknown":
            return yield* notFound("No request of that id is known here")
        }
      }))
  ]
})

/** Not yet: clients poll again at once (docs/protocol/futures.md#answers-to-a-poll). */
const pendingBody = (requestId: string, queue: QueueState) => ({
  type: "try_again",
  request_id: requestId,
  queue_state: queue.state,
  ...(queue.reason === undefined ? {} : { queue_state_reason: queue.reason }),
  detail: "The result is not there yet"
})
