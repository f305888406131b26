/**
 * Training requests and their results as protobuf (docs/protocol/protobuf.md), both ways. Written by hand, because numbers then go
 * from memory to the wire and back as whole blocks; generated code is what the tests hold it against.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import { decoding } from "./internal/decode.js"
import { outputType, readOutput, writeOutput } from "./internal/outputCodec.js"
import { readRequest, requestType, writeRequest } from "./internal/requestCodec.js"
import { attempt, type InvalidInput } from "./InvalidInput.js"
import type { MalformedMessage } from "./MalformedMessage.js"
import type { ForwardBackwardOutput, ForwardBackwardRequest } from "./Training.js"

/**
 * The media type of the binary messages.
 *
 * @since 0.1.0
 * @category constants
 */
export const mediaType = "application/x-protobuf"

/**
 * The body of `POST /forward_backward`. Settings of the loss go out twice: all of them in field 7, the numbers also in
 * field 5 for servers that know only that. Maps are written in the order of their keys. Fails with `InvalidInput` for an
 * image that is only pointed to and for a token id that does not fit 32 bits, naming datum, chunk and index.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encodeRequest = (request: ForwardBackwardRequest): Effect.Effect<Uint8Array, InvalidInput> =>
  attempt(() => writeRequest(request))

/**
 * Reads the body of `POST /forward_backward`. Field 7 wins over field 5. A `seqId` of 0 is one that was not given. Token
 * ids and tensors are views of `bytes` where they lie aligned. Shapes are checked against their data; whether tokens and
 * losses make sense is the server's to say.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeRequest = (bytes: Uint8Array): Effect.Effect<ForwardBackwardRequest, MalformedMessage> =>
  decoding(requestType, () => readRequest(bytes))

/**
 * The result of a pass. Neighbouring data whose fields agree in dtype and trailing dimensions share a record, so ragged
 * results take several. Every datum must have the fields of the first, all of them dense; fails with `InvalidInput`
 * otherwise.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encodeOutput = (output: ForwardBackwardOutput): Effect.Effect<Uint8Array, InvalidInput> =>
  attempt(() => writeOutput(output))

/**
 * Reads the result of a pass (docs/protocol/protobuf.md#results): records are concatenated, int32 and bfloat16 widened, the type cut after
 * its last colon. The tensors of all data are views of one array. Fails with `MalformedMessage` for an unknown dtype,
 * offsets outside the data, and a field that some datum lacks.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decodeOutput = (bytes: Uint8Array): Effect.Effect<ForwardBackwardOutput, MalformedMessage> =>
  decoding(outputType, () => readOutput(bytes))
