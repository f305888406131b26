import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Datum from "../../src/protocol/Datum.js"
import * as Codec from "../../src/protocol/ForwardBackwardCodec.js"
import type { TensorData } from "../../src/protocol/TensorData.js"
import type { ForwardBackwardRequest } from "../../src/protocol/Training.js"
import * as pb from "./gen/tinker_public_pb.js"
import { field, fromHex, hasProtoKey, output, request, toHex, unaligned, unknownFields } from "./support.js"

const goldenRequest =
  "0a016d10011a640a100a0e0a0c01000000020000000300000012300a0d7461726765745f746f6b656e73121f0a180200000000000000030000000000000004000000000000001802220103121e0a077765696768747312130a0c000000000000803f0000803f1801220103220d63726f73735f656e74726f70792a0f0a04636c697011000000000000f03f3001"

const goldenOutput =
  "0a17706b672e6d6f643a546f7263684c6f737352657475726e1285010a0f546f7263684c6f737352657475726e12380a10656c656d656e74776973655f6c6f737312240a06803f004040401218000000000000000004000000000000000600000000000000180412360a086c6f6770726f6273122a0a0c000080bf000000c0000040c01218000000000000000008000000000000000c00000000000000180118021a130a086c6f73733a73756d11000000000000f83f"

const goldenSparse =
  "123e0a080000803f00000040122000000000000000000100000000000000010000000000000002000000000000001a1001000000000000000300000000000000180122020304"

const known: ForwardBackwardRequest = {
  modelId: "m",
  seqId: 1,
  data: [Datum.make({ modelInput: [1, 2, 3], lossFnInputs: { target_tokens: [2, 3, 4], weights: [0, 1, 1] } })],
  lossFn: "cross_entropy",
  lossFnConfig: { clip: 1 },
  forwardOnly: true
}

const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

const int64s = (...values: ReadonlyArray<number>): Uint8Array => bytesOf(BigInt64Array.from(values, BigInt))

const empty = { modelId: "", seqId: 0, data: [], lossFn: "", forwardOnly: false }

const decodeTensor = (tensor: pb.Tensor): Effect.Effect<TensorData, unknown> =>
  Effect.map(
    Codec.decodeRequest(toBinary(
      pb.ForwardBackwardRequestSchema,
      create(pb.ForwardBackwardRequestSchema, { data: [{ lossFnInputs: { x: tensor } }] })
    )),
    ({ data }) => data[0]!.lossFnInputs["x"]!
  )

const tensorOf = (fields: Parameters<typeof create<typeof pb.TensorSchema>>[1]): pb.Tensor =>
  create(pb.TensorSchema, fields)

describe("requests", () => {
  it.effect("are the official encoder's bytes, with the settings once more in field 7", () =>
    Effect.gen(function*() {
      const bytes = toHex(yield* Codec.encodeRequest(known))
      assert.strictEqual(bytes, `${goldenRequest}3a110a04636c6970120909000000000000f03f`)
      const { lossFnConfig: _, ...without } = known
      assert.strictEqual(
        toHex(yield* Codec.encodeRequest(without)),
        goldenRequest.replace("2a0f0a04636c697011000000000000f03f", "")
      )
    }))

  it.effect("of the official encoder are read", () =>
    Effect.gen(function*() {
      const read = yield* Codec.decodeRequest(fromHex(goldenRequest))
      assert.deepStrictEqual(read, {
        ...known,
        data: [{
          ...known.data[0]!,
          modelInput: { chunks: [{ type: "encoded_text", tokens: Int32Array.of(1, 2, 3) }] }
        }]
      })
    }))

  it.effect("carry sparse tensors as the official encoder writes them", () =>
    Effect.gen(function*() {
      const tensor = yield* decodeTensor(fromBinary(pb.TensorSchema, fromHex(goldenSparse)))
      assert.deepStrictEqual(tensor, {
        dtype: "float32",
        data: Float32Array.of(1, 2),
        shape: [3, 4],
        crow: Int32Array.of(0, 1, 1, 2),
        col: Int32Array.of(1, 3)
      })
      const bytes = yield* Codec.encodeRequest({
        ...empty,
        data: [{ modelInput: { chunks: [] }, lossFnInputs: { x: tensor } }]
      })
      assert.include(toHex(bytes), goldenSparse)
    }))

  it.effect("survive encoding and decoding, aligned or not", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(request, async (value) => {
          const bytes = await Effect.runPromise(Codec.encodeRequest(value))
          assert.deepStrictEqual(await Effect.runPromise(Codec.decodeRequest(bytes)), value)
          assert.deepStrictEqual(await Effect.runPromise(Codec.decodeRequest(unaligned(bytes))), value)
        }),
        { numRuns: 200 }
      )
    ))

  it.effect("mean the same to generated code, in both directions", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(request.filter((value) => !hasProtoKey(value)), async (value) => {
          const ours = await Effect.runPromise(Codec.encodeRequest(value))
          const message = fromBinary(pb.ForwardBackwardRequestSchema, ours)
          assert.isUndefined(message.$unknown)
          assert.strictEqual(message.modelId, value.modelId)
          assert.strictEqual(message.seqId, value.seqId)
          assert.strictEqual(message.forwardOnly, value.forwardOnly)
          assert.strictEqual(message.data.length, value.data.length)
          const theirs = toBinary(pb.ForwardBackwardRequestSchema, message)
          assert.deepStrictEqual(await Effect.runPromise(Codec.decodeRequest(theirs)), value)
        }),
        { numRuns: 200 }
      )
    ))

  it.effect("write numbers of the settings for old servers too, and prefer field 7 when reading", () =>
    Effect.gen(function*() {
      const bytes = yield* Codec.encodeRequest({ ...empty, lossFnConfig: { b: "text", a: 0.5 } })
      const message = fromBinary(pb.ForwardBackwardRequestSchema, bytes)
      assert.deepStrictEqual(message.lossFnConfig, { a: 0.5 })
      assert.deepStrictEqual(Object.keys(message.lossFnConfigV2), ["a", "b"])
      const both = create(pb.ForwardBackwardRequestSchema, {
        lossFnConfig: { a: 1 },
        lossFnConfigV2: { a: { value: { case: "number", value: 2 } } }
      })
      const read = yield* Codec.decodeRequest(toBinary(pb.ForwardBackwardRequestSchema, both))
      assert.deepStrictEqual(read.lossFnConfig, { a: 2 })
      const legacy = create(pb.ForwardBackwardRequestSchema, { lossFnConfig: { a: 1 } })
      const old = yield* Codec.decodeRequest(toBinary(pb.ForwardBackwardRequestSchema, legacy))
      assert.deepStrictEqual(old.lossFnConfig, { a: 1 })
    }))

  it.effect("with a setting that has no value are refused by its name", () =>
    Effect.gen(function*() {
      const message = create(pb.ForwardBackwardRequestSchema, { lossFnConfigV2: { a: {} } })
      const error = yield* Effect.flip(Codec.decodeRequest(toBinary(pb.ForwardBackwardRequestSchema, message)))
      assert.strictEqual(error.messageType, "ForwardBackwardRequest")
      assert.include(error.message, "loss_fn_config_v2.a has no value")
    }))

  it.effect("cannot point to an image, nor carry ids of more than 32 bits; the place is named", () =>
    Effect.gen(function*() {
      const text = { type: "encoded_text" as const, tokens: [1] }
      const pointer = { type: "image_asset_pointer" as const, location: "secret", format: "png" }
      const error = yield* Effect.flip(
        Codec.encodeRequest({ ...empty, data: [{ modelInput: { chunks: [text, pointer] }, lossFnInputs: {} }] })
      )
      assert.strictEqual(error.field, "data[0].modelInput.chunks[1]")
      assert.notInclude(error.message, "secret")
      for (const bad of [2 ** 31, 1.5, Number.NaN]) {
        const wide = yield* Effect.flip(
          Codec.encodeRequest({
            ...empty,
            data: [{ modelInput: { chunks: [{ ...text, tokens: [7, bad] }] }, lossFnInputs: {} }]
          })
        )
        assert.strictEqual(wide.field, "data[0].modelInput.chunks[0].tokens")
        assert.strictEqual(wide.index, 1)
      }
    }))

  it.effect("write lists of ids and typed arrays alike", () =>
    Effect.gen(function*() {
      const of = (tokens: ReadonlyArray<number> | Int32Array) =>
        Codec.encodeRequest({
          ...empty,
          data: [{ modelInput: { chunks: [{ type: "encoded_text", tokens }] }, lossFnInputs: {} }]
        })
      assert.deepStrictEqual(yield* of([1, -2, 2 ** 31 - 1]), yield* of(Int32Array.of(1, -2, 2 ** 31 - 1)))
    }))

  it.effect("grow beyond what was expected of them", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(request, fc.integer({ min: 500, max: 9000 }), async (value, n) => {
          const long = { ...value, lossFn: "x".repeat(n), lossFnConfig: { a: "ä".repeat(n), b: "c" } }
          const bytes = await Effect.runPromise(Codec.encodeRequest(long))
          assert.deepStrictEqual(await Effect.runPromise(Codec.decodeRequest(bytes)), long)
        }),
        { numRuns: 30 }
      )
    ))

  it.effect("tolerate fields that are not known here, and known ones of another wire type", () =>
    Effect.gen(function*() {
      const tensor = [unknownFields, field(1, "0000803f"), "1801", "0801", "1001", "1a0101"]
      const csr = [unknownFields, "0801", "1001", "1801", field(2, "00".repeat(8))]
      const span = [unknownFields, field(2, unknownFields, field(1, "73"), "1003", "1804"), "0801", "1001"]
      const datum = [
        unknownFields,
        "0801",
        "1001",
        "1801",
        "2001",
        field(1, unknownFields, field(1, unknownFields, field(1, "05000000"), "0801"), "0801", "1001", "1801"),
        field(2, unknownFields, field(1, "78"), field(2, ...tensor), "1001"),
        field(3, ...span)
      ]
      const config = field(7, unknownFields, field(1, "61"), field(2, unknownFields, field(2, "62")), "0801", "1001")
      const bytes = fromHex(
        [
          unknownFields,
          "0801",
          field(1, "6d"),
          "1201" + "00",
          "1801",
          field(3, ...datum),
          "2001",
          "2801",
          config,
          "3801"
        ]
          .join("")
      )
      assert.deepStrictEqual(yield* Codec.decodeRequest(bytes), {
        modelId: "m",
        seqId: 0,
        data: [{
          modelInput: { chunks: [{ type: "encoded_text", tokens: Int32Array.of(5) }] },
          lossFnInputs: { x: { dtype: "float32", data: Float32Array.of(1), shape: [1] } },
          modelInputSpans: [{ type: "sampled_tokens", sequenceId: "s", offset: 3, length: 4 }]
        }],
        lossFn: "",
        lossFnConfig: { a: "b" },
        forwardOnly: false
      })
      const sparse = field(3, field(2, field(1, "78"), field(2, field(2, ...csr), "1801", "2000", "2001")))
      const read = yield* Codec.decodeRequest(fromHex(sparse))
      assert.deepStrictEqual(read.data[0]!.lossFnInputs["x"], {
        dtype: "float32",
        data: new Float32Array(0),
        shape: [0, 1],
        crow: Int32Array.of(0),
        col: new Int32Array(0)
      })
    }))

  it.effect("that end early or are nonsense are refused without a crash", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(request, fc.nat(), fc.uint8Array({ maxLength: 40 }), async (value, cut, noise) => {
          const bytes = await Effect.runPromise(Codec.encodeRequest(value))
          for (const bad of [bytes.subarray(0, cut % (bytes.length + 1)), new Uint8Array(noise)]) {
            const result = await Effect.runPromise(Effect.either(Codec.decodeRequest(bad)))
            if (result._tag === "Left") assert.strictEqual(result.left._tag, "MalformedMessage")
          }
        }),
        { numRuns: 300 }
      )
    ))

  it.effect("refuse malformed numbers, groups and text", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [string, RegExp]> = [
        ["10", /ends inside a number/],
        ["10ffffffffffffffffffff01", /more than 10 bytes/],
        ["ffffffffffffffffffff01", /more than 10 bytes/],
        ["80", /ends inside a number/],
        ["00", /field number 0/],
        ["0b", /wire type 3 of field 1/],
        ["0a05", /ends inside field 1/],
        ["0a02ff00", /not UTF-8/],
        ["1a041a02" + "1205", /ends inside/],
        ["1a0b1a0912071880808080808080", /ends inside|out of range/]
      ]
      for (const [hex, message] of cases) {
        assert.match((yield* Effect.flip(Codec.decodeRequest(fromHex(hex)))).message, message, hex)
      }
      const span = create(pb.ProvenanceSpanSchema, {
        span: { case: "promptTokens", value: create(pb.PromptProvenanceSpanSchema, { sequenceId: "s", offset: -1n }) }
      })
      const bytes = toBinary(
        pb.ForwardBackwardRequestSchema,
        create(pb.ForwardBackwardRequestSchema, { data: [{ modelInputSpans: [span] }] })
      )
      assert.match((yield* Effect.flip(Codec.decodeRequest(bytes))).message, /out of range/)
    }))

  it.effect("refuse chunks of no known kind and ids that are not whole", () =>
    Effect.gen(function*() {
      const decode = (modelInput: ReadonlyArray<pb.Chunk>) =>
        Effect.flip(Codec.decodeRequest(toBinary(
          pb.ForwardBackwardRequestSchema,
          create(pb.ForwardBackwardRequestSchema, { data: [{ modelInput: [...modelInput] }] })
        )))
      const unknown = yield* decode([create(pb.ChunkSchema)])
      assert.include(unknown.message, "data[0].modelInput.chunks[0] holds nothing that is known here")
      const ragged = yield* decode([
        create(pb.ChunkSchema, {
          chunk: { case: "encodedText", value: create(pb.EncodedTextChunkSchema, { tokens: new Uint8Array(5) }) }
        })
      ])
      assert.include(ragged.message, "data[0].modelInput.chunks[0] has 5 bytes of token ids")
    }))
})

describe("tensors", () => {
  it.effect("of other types are widened", () =>
    Effect.gen(function*() {
      const int32 = yield* decodeTensor(
        tensorOf({ encoding: { case: "dense", value: bytesOf(Int32Array.of(1, -2)) }, dtype: pb.DType.DTYPE_INT32 })
      )
      assert.deepStrictEqual(int32, { dtype: "int64", data: Int32Array.of(1, -2), shape: [2] })
      const bfloat16 = yield* decodeTensor(
        tensorOf({
          encoding: { case: "dense", value: bytesOf(Uint16Array.of(0x3f80, 0xc040)) },
          dtype: pb.DType.DTYPE_BFLOAT16,
          shape: [1n, 2n]
        })
      )
      assert.deepStrictEqual(bfloat16, { dtype: "float32", data: Float32Array.of(1, -3), shape: [1, 2] })
    }))

  it.effect("keep integers beyond 32 bits exactly", () =>
    Effect.gen(function*() {
      const data = BigInt64Array.of(2n ** 62n, -(2n ** 63n), 5n)
      const tensor = yield* decodeTensor(
        tensorOf({ encoding: { case: "dense", value: bytesOf(data) }, dtype: pb.DType.DTYPE_INT64, shape: [3n] })
      )
      assert.deepStrictEqual(tensor, { dtype: "int64", data, shape: [3] })
    }))

  it.effect("take a shape that is not packed", () =>
    Effect.gen(function*() {
      const tensor = [field(1, "0000803f0000004000004040"), "1801", "2003", field(4, "01"), "2a0100"]
      const bytes = fromHex(field(3, field(2, field(1, "78"), field(2, ...tensor))))
      const read = yield* Codec.decodeRequest(bytes)
      assert.deepStrictEqual(read.data[0]!.lossFnInputs["x"]!.shape, [3, 1])
    }))

  it.effect("are refused when their parts do not fit", () =>
    Effect.gen(function*() {
      const dense = (n: number) => ({ case: "dense" as const, value: new Uint8Array(n) })
      const csr = (fields: { values?: Uint8Array; crowIndices?: Uint8Array; colIndices?: Uint8Array }) => ({
        case: "sparseCsr" as const,
        value: create(pb.SparseCsrSchema, fields)
      })
      const float = pb.DType.DTYPE_FLOAT32
      const cases: ReadonlyArray<readonly [pb.Tensor, RegExp]> = [
        [tensorOf({ encoding: dense(4) }), /unknown dtype 0/],
        [tensorOf({ encoding: dense(4), dtype: 9 as pb.DType }), /unknown dtype 9/],
        [tensorOf({ encoding: dense(5), dtype: float }), /5 bytes, not whole numbers/],
        [tensorOf({ encoding: dense(4), dtype: pb.DType.DTYPE_INT64 }), /4 bytes, not whole numbers/],
        [tensorOf({ encoding: dense(3), dtype: pb.DType.DTYPE_BFLOAT16 }), /3 bytes, not whole numbers/],
        [tensorOf({ encoding: dense(6), dtype: pb.DType.DTYPE_INT32 }), /6 bytes, not whole numbers/],
        [tensorOf({ encoding: dense(8), dtype: float, shape: [3n] }), /expected 3 values for shape \[3\], got 2/],
        [tensorOf({ encoding: dense(8), dtype: float, shape: [-2n] }), /out of range/],
        [tensorOf({ encoding: csr({ crowIndices: new Uint8Array(3) }), dtype: float }), /not usable/],
        [tensorOf({ encoding: csr({ colIndices: int64s(2 ** 40) }), dtype: float }), /not usable/],
        [
          tensorOf({
            encoding: csr({ values: new Uint8Array(4), crowIndices: int64s(0, 1), colIndices: int64s(4) }),
            dtype: float,
            shape: [1n, 4n]
          }),
          /a column from 0 to 3/
        ]
      ]
      for (const [tensor, message] of cases) assert.match(String(yield* Effect.flip(decodeTensor(tensor))), message)
    }))
})

const batched = (fields: Parameters<typeof create<typeof pb.BatchedTensorSchema>>[1]) =>
  create(pb.BatchedTensorSchema, fields)

const decodeOutput = (fields: Parameters<typeof create<typeof pb.ForwardBackwardOutputSchema>>[1]) =>
  Codec.decodeOutput(toBinary(pb.ForwardBackwardOutputSchema, create(pb.ForwardBackwardOutputSchema, fields)))

describe("results", () => {
  it.effect("of the official encoder are read: type cut, bfloat16 widened, data cut by byte offsets", () =>
    Effect.gen(function*() {
      const read = yield* Codec.decodeOutput(fromHex(goldenOutput))
      const floats = (...values: ReadonlyArray<number>) => ({
        dtype: "float32" as const,
        data: Float32Array.from(values),
        shape: [values.length]
      })
      assert.deepStrictEqual(read, {
        lossFnOutputType: "TorchLossReturn",
        lossFnOutputs: [
          { elementwise_loss: floats(1, 2), logprobs: floats(-1, -2) },
          { elementwise_loss: floats(3), logprobs: floats(-3) }
        ],
        metrics: { "loss:sum": 1.5 }
      })
    }))

  it.effect("are the official bytes when nothing has to be widened", () =>
    Effect.gen(function*() {
      const bytes = yield* Codec.encodeOutput({
        lossFnOutputType: "T",
        lossFnOutputs: [
          { logprobs: { dtype: "float32", data: Float32Array.of(-1, -2), shape: [2] } },
          { logprobs: { dtype: "float32", data: Float32Array.of(-3), shape: [1] } }
        ],
        metrics: { "loss:sum": 1.5 }
      })
      assert.strictEqual(
        toHex(bytes),
        "0a0154" + "123d" + "0a0154" +
          "12360a086c6f6770726f6273122a0a0c000080bf000000c0000040c01218000000000000000008000000000000000c000000000000001801" +
          "1802" + "1a130a086c6f73733a73756d11000000000000f83f"
      )
    }))

  it.effect("survive encoding and decoding, ragged ones too, aligned or not", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(output, async (value) => {
          const bytes = await Effect.runPromise(Codec.encodeOutput(value))
          assert.deepStrictEqual(await Effect.runPromise(Codec.decodeOutput(bytes)), value)
          assert.deepStrictEqual(await Effect.runPromise(Codec.decodeOutput(unaligned(bytes))), value)
        }),
        { numRuns: 200 }
      )
    ))

  it.effect("mean the same to generated code, in both directions", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(output.filter((value) => !hasProtoKey(value)), async (value) => {
          const message = fromBinary(pb.ForwardBackwardOutputSchema, await Effect.runPromise(Codec.encodeOutput(value)))
          assert.isUndefined(message.$unknown)
          assert.strictEqual(
            message.lossFnOutputs.reduce((n, record) => n + Number(record.numDatums), 0),
            value.lossFnOutputs.length
          )
          const theirs = toBinary(pb.ForwardBackwardOutputSchema, message)
          assert.deepStrictEqual(await Effect.runPromise(Codec.decodeOutput(theirs)), value)
        }),
        { numRuns: 200 }
      )
    ))

  it.effect("keep wide integers", () =>
    Effect.gen(function*() {
      const value = {
        lossFnOutputType: "T",
        lossFnOutputs: [{ x: { dtype: "int64" as const, data: BigInt64Array.of(2n ** 40n), shape: [1] } }],
        metrics: {}
      }
      assert.deepStrictEqual(yield* Codec.decodeOutput(yield* Codec.encodeOutput(value)), value)
    }))

  it.effect("without records keep their type whole, or get a name", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* decodeOutput({ lossFnOutputType: "a:b" })).lossFnOutputType, "a:b")
      assert.strictEqual((yield* decodeOutput({})).lossFnOutputType, "ArrayRecord")
    }))

  it.effect("count data by num_datums, by the first field when there is none, and without fields too", () =>
    Effect.gen(function*() {
      const field = batched({ data: bytesOf(Float32Array.of(1, 2)), offsets: int64s(0, 4, 8), dtype: 1 })
      const counted = yield* decodeOutput({ lossFnOutputs: [{ fields: { x: field } }] })
      assert.strictEqual(counted.lossFnOutputs.length, 2)
      const stripped = yield* decodeOutput({ lossFnOutputs: [{ numDatums: 3n }] })
      assert.deepStrictEqual(stripped.lossFnOutputs, [{}, {}, {}])
      const nothing = yield* decodeOutput({ lossFnOutputType: "a:b", lossFnOutputs: [{}] })
      assert.deepStrictEqual(nothing, { lossFnOutputType: "b", lossFnOutputs: [], metrics: {} })
    }))

  it.effect("take rows of no elements", () =>
    Effect.gen(function*() {
      const field = batched({ offsets: int64s(0, 0), dtype: 1, trailingShape: [0n] })
      const read = yield* decodeOutput({ lossFnOutputs: [{ fields: { x: field }, numDatums: 1n }] })
      assert.deepStrictEqual(read.lossFnOutputs[0]!["x"]!.shape, [0, 0])
    }))

  it.effect("are refused when a field lacks data, its offsets are wrong or its dtype is unknown", () =>
    Effect.gen(function*() {
      const data = bytesOf(Float32Array.of(1, 2))
      const cases: ReadonlyArray<readonly [pb.BatchedTensor, RegExp]> = [
        [batched({ data, offsets: int64s(0, 4), dtype: 1 }), /field x has 1 of 2 data/],
        [batched({ data, offsets: int64s(0, 4, 12), dtype: 1 }), /offset 2 of field x does not fit/],
        [batched({ data, offsets: int64s(0, 3, 8), dtype: 1 }), /offset 1 of field x does not fit/],
        [batched({ data, offsets: int64s(8, 4, 8), dtype: 1 }), /offset 1 of field x does not fit/],
        [batched({ data, offsets: int64s(-4, 4, 8), dtype: 1 }), /offset 1 of field x does not fit/],
        [batched({ data, offsets: int64s(0, 2 ** 40), dtype: 1 }), /offsets of field x are not usable/],
        [batched({ data, offsets: new Uint8Array(5), dtype: 1 }), /offsets of field x are not usable/],
        [batched({ data, offsets: int64s(0, 4, 8), dtype: 1, trailingShape: [2n] }), /not whole rows/],
        [batched({ data, offsets: int64s(0, 4, 8) }), /unknown dtype 0/],
        [batched({ data: new Uint8Array(3), offsets: int64s(0, 0, 0), dtype: 1 }), /3 bytes/]
      ]
      for (const [x, message] of cases) {
        const error = yield* Effect.flip(decodeOutput({ lossFnOutputs: [{ fields: { x }, numDatums: 2n }] }))
        assert.match(error.message, message)
        assert.strictEqual(error.messageType, "ForwardBackwardOutput")
      }
      const missing = fromHex(field(2, field(2, field(1, "78"))))
      assert.match((yield* Effect.flip(Codec.decodeOutput(missing))).message, /unknown dtype 0/)
    }))

  it.effect("cannot be written when data differ in their fields, or one is sparse", () =>
    Effect.gen(function*() {
      const x: TensorData = { dtype: "float32", data: Float32Array.of(1), shape: [1] }
      const sparse: TensorData = { ...x, shape: [1, 1], crow: Int32Array.of(0, 1), col: Int32Array.of(0) }
      for (const [index, outputs] of [[1, [{ x }, {}]], [1, [{ x }, { y: x }]], [0, [{ x: sparse }]]] as const) {
        const error = yield* Effect.flip(
          Codec.encodeOutput({ lossFnOutputType: "T", lossFnOutputs: outputs, metrics: {} })
        )
        assert.strictEqual(error.field, "lossFnOutputs")
        assert.strictEqual(error.index, index)
      }
    }))

  it.effect("that end early or are nonsense are refused without a crash", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(output, fc.nat(), fc.uint8Array({ maxLength: 40 }), async (value, cut, noise) => {
          const bytes = await Effect.runPromise(Codec.encodeOutput(value))
          for (const bad of [bytes.subarray(0, cut % (bytes.length + 1)), new Uint8Array(noise)]) {
            const result = await Effect.runPromise(Effect.either(Codec.decodeOutput(bad)))
            if (result._tag === "Left") assert.strictEqual(result.left._tag, "MalformedMessage")
          }
        }),
        { numRuns: 300 }
      )
    ))

  it.effect("tolerate fields that are not known here, at every depth", () =>
    Effect.gen(function*() {
      const batch = [
        unknownFields,
        "0801",
        "1001",
        "1a0100",
        field(1, "0000803f"),
        field(2, "00000000000000000400000000000000"),
        "1801"
      ]
      const record = [unknownFields, "1001", field(2, field(1, "78"), field(2, ...batch)), "1801", "1a0100"]
      const bytes = fromHex([unknownFields, "0801", "1001", field(2, ...record), "1801"].join(""))
      const read = yield* Codec.decodeOutput(bytes)
      assert.deepStrictEqual(read.lossFnOutputs, [{ x: { dtype: "float32", data: Float32Array.of(1), shape: [1] } }])
    }))
})
