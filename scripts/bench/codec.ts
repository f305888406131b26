/**
 * The binary codecs, as multiples of a plain copy of the same bytes: encoding a request of 1,024 data of 512 tokens, and
 * decoding 100,000 log-probabilities. Beside them the same through generated protobuf code.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import * as Effect from "effect/Effect"
import * as Datum from "../../src/protocol/Datum.js"
import { decodeOutput, decodeRequest, encodeOutput, encodeRequest } from "../../src/protocol/ForwardBackwardCodec.js"
import { decodeResponse, encodeResponse } from "../../src/protocol/SampleCodec.js"
import * as pb from "../../test/protocol/gen/tinker_public_pb.js"
import type { Row } from "./Row.js"

const median = (values: ReadonlyArray<number>): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

const millis = (run: () => unknown): number => {
  const start = performance.now()
  run()
  return performance.now() - start
}

/** How many copies of `bytes` fit into the time of `run`: the median over rounds that time both, after some that warm up. */
const copies = (rounds: number, bytes: Uint8Array, run: () => unknown): number => {
  const ratios: Array<number> = []
  for (let i = 0; i < rounds * 2; i++) {
    const copy = millis(() => bytes.slice())
    const time = millis(run)
    if (i >= rounds) ratios.push(time / copy)
  }
  return median(ratios)
}

const data = 1024
const tokens = 512

const request = {
  modelId: "session:train:0",
  seqId: 1,
  data: Array.from({ length: data }, (_, i) => {
    const ids = Int32Array.from({ length: tokens + 1 }, (_, t) => (i * 31 + t * 7) % 150_000)
    return Datum.fromCompletion(ids.subarray(0, 256), ids.subarray(256))
  }),
  lossFn: "cross_entropy",
  forwardOnly: false
}

const logprobs = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => -i / n)

/** The same request as messages of the generated code, made and written. */
const generated = (): Uint8Array =>
  toBinary(
    pb.ForwardBackwardRequestSchema,
    create(pb.ForwardBackwardRequestSchema, {
      modelId: request.modelId,
      seqId: request.seqId,
      lossFn: request.lossFn,
      data: request.data.map(({ lossFnInputs, modelInput }) => {
        const text = modelInput.chunks[0]!
        const ids = text.type === "encoded_text" ? Int32Array.from(text.tokens) : new Int32Array(0)
        return create(pb.DatumSchema, {
          modelInput: [create(pb.ChunkSchema, {
            chunk: {
              case: "encodedText",
              value: create(pb.EncodedTextChunkSchema, { tokens: new Uint8Array(ids.buffer) })
            }
          })],
          lossFnInputs: Object.fromEntries(
            Object.entries(lossFnInputs).map(([name, tensor]) => {
              const numbers = tensor.dtype === "float32"
                ? Float32Array.from(tensor.data)
                : BigInt64Array.from(tensor.data as Int32Array, BigInt) // token ids are
              return [
                name,
                create(pb.TensorSchema, {
                  encoding: { case: "dense", value: new Uint8Array(numbers.buffer) },
                  dtype: tensor.dtype === "float32" ? pb.DType.DTYPE_FLOAT32 : pb.DType.DTYPE_INT64,
                  shape: tensor.shape.map(BigInt)
                })
              ]
            })
          )
        })
      })
    })
  )

export const rows = (): Promise<ReadonlyArray<Row>> =>
  Effect.runPromise(Effect.gen(function*() {
    const body = yield* encodeRequest(request)
    const output = yield* encodeOutput({
      lossFnOutputType: "TorchLossReturn",
      lossFnOutputs: Array.from({ length: 200 }, () => ({
        logprobs: { dtype: "float32" as const, data: logprobs(500), shape: [500] }
      })),
      metrics: { "loss:sum": 1 }
    })
    const sampled = encodeResponse({
      sequences: Array.from({ length: 100 }, () => ({
        stopReason: "length" as const,
        tokens: new Int32Array(1000),
        logprobs: logprobs(1000)
      })),
      promptCacheHitTokens: 0
    })
    const row = (name: string, value: number): Row => ({ name, value, unit: "copies", target: null, better: "lower" })
    return [
      row("encode a request of 1,024 x 512 tokens", copies(15, body, () => Effect.runSync(encodeRequest(request)))),
      row("the same through generated code", copies(5, body, generated)),
      row("decode that request", copies(15, body, () => Effect.runSync(decodeRequest(body)))),
      row("decode 100,000 logprobs of training", copies(200, output, () => Effect.runSync(decodeOutput(output)))),
      row(
        "the same through generated code, unread",
        copies(200, output, () => fromBinary(pb.ForwardBackwardOutputSchema, output))
      ),
      row(
        "decode 100,000 sampled tokens with logprobs",
        copies(200, sampled, () => Effect.runSync(decodeResponse(sampled)))
      )
    ]
  }))
