/**
 * Sampling results as protobuf (docs/protocol/protobuf.md), both ways. Requests travel as JSON, see `Sampling.SampleRequest`.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import { decoding } from "./internal/decode.js"
import { readSampleResponse, responseType, writeSampleResponse } from "./internal/sampleCodec.js"
import type { MalformedMessage } from "./MalformedMessage.js"
import type { SampleResponse } from "./Sampling.js"

/**
 * The body of a finished `asample`. Sequence ids are not part of it: they were in the answer to the submission.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encodeResponse = (response: SampleResponse): Uint8Array => writeSampleResponse(response)

/**
 * Reads the body of a finished `asample`. Arrays are views of `bytes` where they lie aligned. Log-probabilities of no
 * bytes, and top-k matrices without rows or columns, are absent. Fails with `MalformedMessage` for an unknown stop reason
 * and for lengths that do not fit together.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeResponse = (bytes: Uint8Array): Effect.Effect<SampleResponse, MalformedMessage> =>
  decoding(responseType, () => readSampleResponse(bytes))
