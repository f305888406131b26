import * as fc from "effect/FastCheck"
import type { Datum, ProvenanceSpan } from "../../src/protocol/Datum.js"
import type { Chunk } from "../../src/protocol/ModelInput.js"
import type { SampledSequence, SampleResponse, TopkLogprobs } from "../../src/protocol/Sampling.js"
import * as TensorData from "../../src/protocol/TensorData.js"
import type { ForwardBackwardOutput, ForwardBackwardRequest } from "../../src/protocol/Training.js"

export const fromHex = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))

export const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")

const hexByte = (n: number): string => n.toString(16).padStart(2, "0")

/** A length-delimited field as hex. */
export const field = (number: number, ...body: ReadonlyArray<string>): string => {
  const all = body.join("")
  const n = all.length / 2
  return hexByte(number * 8 + 2) + (n < 128 ? hexByte(n) : hexByte((n % 128) | 128) + hexByte(n >> 7)) + all
}

/** Fields 12 to 15 of wire types 0, 1, 2 and 5, which no message declares. */
export const unknownFields = "6001" + "690000000000000000" + "72020102" + "7d00000000"

/** Whether a value uses a key that generated code loses. */
export const hasProtoKey = (value: object): boolean =>
  Object.hasOwn(value, "__proto__") ||
  Object.values(value).some((inner) =>
    typeof inner === "object" && inner !== null && !ArrayBuffer.isView(inner) && hasProtoKey(inner)
  )

/** The same bytes at an address that is no multiple of 2. */
export const unaligned = (bytes: Uint8Array): Uint8Array => {
  const room = new Uint8Array(bytes.length + 1)
  room.set(bytes, 1)
  return room.subarray(1)
}

const compact = <A extends object>(record: A): A => {
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(record)) if (value !== undefined) out[key] = value
  return out as A
}

const some = <A>(arbitrary: fc.Arbitrary<A>): fc.Arbitrary<A | undefined> => fc.option(arbitrary, { nil: undefined })

export const name = fc.constantFrom("target_tokens", "weights", "logprobs", "", "ä:1", "__proto__", "constructor")

export const float = fc.float({ noNaN: true })

export const int32 = fc.integer()

const floats = (n: number): fc.Arbitrary<Float32Array> =>
  fc.array(float, { minLength: n, maxLength: n }).map((list) => Float32Array.from(list))

const ints = (n: number): fc.Arbitrary<Int32Array> =>
  fc.array(int32, { minLength: n, maxLength: n }).map((list) => Int32Array.from(list))

const shape = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 3 })

const wide = (n: number): fc.Arbitrary<BigInt64Array> =>
  fc.array(fc.bigInt({ min: 2n ** 31n, max: 2n ** 63n - 1n }), { minLength: n, maxLength: n })
    .map((list) => BigInt64Array.from(list))

export const denseTensor: fc.Arbitrary<TensorData.TensorData> = shape.chain((shape) => {
  const n = shape.reduce((a, b) => a * b, 1)
  return fc.oneof(
    floats(n).map((data) => ({ dtype: "float32" as const, data, shape })),
    ints(n).map((data) => ({ dtype: "int64" as const, data, shape })),
    ...(n === 0 ? [] : [wide(n).map((data) => ({ dtype: "int64" as const, data, shape }))])
  )
})

export const sparseTensor: fc.Arbitrary<TensorData.TensorData> = fc.record({
  rows: fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }), { minLength: 1, maxLength: 4 }),
  dtype: fc.constantFrom("float32" as const, "int64" as const)
}).map(({ dtype, rows }) => {
  const sorted = rows.map((row) => [...row].sort((a, b) => a - b))
  const crow = [0]
  for (const row of sorted) crow.push(crow.at(-1)! + row.length)
  const col = sorted.flat()
  return TensorData.sparse({ dtype, data: col.map((c) => c + 1), shape: [rows.length, 6], crow, col })
})

export const tensor = fc.oneof(denseTensor, sparseTensor)

const bytes = fc.uint8Array({ maxLength: 12 }).map((list) => new Uint8Array(list))

/** Chunks that a training request can carry, their tokens in typed arrays. */
export const chunk: fc.Arbitrary<Chunk> = fc.oneof(
  fc.integer({ min: 0, max: 9 }).chain(ints).map((tokens) => ({ type: "encoded_text" as const, tokens })),
  fc.record({
    type: fc.constant("image" as const),
    data: bytes,
    format: fc.constantFrom("png", "jpeg", ""),
    expectedTokens: some(fc.nat(9))
  }).map(compact),
  fc.record({ type: fc.constant("dmel" as const), dmel: bytes })
)

const spans: fc.Arbitrary<ReadonlyArray<ProvenanceSpan>> = fc.array(
  fc.record({
    type: fc.constantFrom("prompt_tokens" as const, "sampled_tokens" as const),
    sequenceId: fc.string(),
    offset: fc.maxSafeNat(),
    length: fc.nat()
  }),
  { minLength: 1, maxLength: 3 }
)

const record = <A>(value: fc.Arbitrary<A>): fc.Arbitrary<Record<string, A>> =>
  fc.array(fc.tuple(name, value), { maxLength: 3 }).map((entries) => Object.fromEntries(entries))

export const datum: fc.Arbitrary<Datum> = fc.record({
  modelInput: fc.record({ chunks: fc.array(chunk, { maxLength: 3 }) }),
  lossFnInputs: record(tensor),
  modelInputSpans: some(spans),
  lossFnInputSpans: some(spans)
}).map(compact)

export const request: fc.Arbitrary<ForwardBackwardRequest> = fc.record({
  modelId: fc.string(),
  seqId: int32,
  data: fc.array(datum, { maxLength: 3 }),
  lossFn: fc.string(),
  lossFnConfig: some(
    fc.array(fc.tuple(name, fc.oneof(fc.double({ noNaN: true }), fc.string())), { minLength: 1, maxLength: 3 })
      .map((entries) => Object.fromEntries(entries))
  ),
  forwardOnly: fc.boolean()
}).map(compact)

/** Results with the same fields for every datum; shapes and dtypes change from run to run of data. */
export const output: fc.Arbitrary<ForwardBackwardOutput> = fc.record({
  names: fc.uniqueArray(name, { maxLength: 2 }),
  runs: fc.array(
    fc.record({
      count: fc.integer({ min: 1, max: 3 }),
      trailing: fc.array(fc.integer({ min: 1, max: 2 }), { maxLength: 2 }),
      float: fc.boolean(),
      leading: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 3, maxLength: 3 })
    }),
    { maxLength: 3 }
  ),
  type: fc.constantFrom("TorchLossReturn", "a"),
  metrics: record(fc.double({ noNaN: true }))
}).map(({ metrics, names, runs, type }) => {
  const lossFnOutputs = names.length === 0 ?
    [] :
    runs.flatMap(({ count, float, leading, trailing }) =>
      Array.from({ length: count }, (_, i) => {
        const shape = [leading[i]!, ...trailing]
        const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, j) => i + j - 1)
        return Object.fromEntries(
          names.map((name) => [name, TensorData.make(values, { dtype: float ? "float32" : "int64", shape })])
        )
      })
    )
  return { lossFnOutputType: type, lossFnOutputs, metrics }
})

export const topk: fc.Arbitrary<TopkLogprobs> = fc.tuple(
  fc.integer({ min: 1, max: 3 }),
  fc.integer({ min: 1, max: 4 })
).chain(([k, length]) =>
  fc.record({ tokens: ints(k * length), logprobs: floats(k * length), k: fc.constant(k), length: fc.constant(length) })
)

const sequence: fc.Arbitrary<SampledSequence> = fc.integer({ min: 0, max: 5 }).chain((n) =>
  fc.record({
    stopReason: fc.constantFrom("stop" as const, "length" as const),
    tokens: ints(n),
    logprobs: n === 0 ? fc.constant(undefined) : some(floats(n)),
    topkLogprobs: some(topk)
  }).map(compact)
)

const matrix = (dtype: TensorData.TensorDtype): fc.Arbitrary<TensorData.TensorData> =>
  fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 4, maxLength: 4 }).map((values) =>
    TensorData.make(values, { dtype, shape: [2, 2] })
  )

export const sampleResponse: fc.Arbitrary<SampleResponse> = fc.record({
  sequences: fc.array(sequence, { maxLength: 3 }),
  promptLogprobs: some(
    fc.array(fc.oneof(float, fc.constant(Number.NaN)), { minLength: 1, maxLength: 5 }).map((list) =>
      Float32Array.from(list)
    )
  ),
  topkPromptLogprobs: some(topk),
  targetPromptLogprobs: some(fc.oneof(matrix("float32"), sparseTensor)),
  promptAltTokens: some(fc.record({ tokens: matrix("int64"), logprobs: matrix("float32") })),
  promptCacheHitTokens: fc.nat()
}).map(compact)
