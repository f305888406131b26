import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as DateTime from "effect/DateTime"
import * as fc from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Audit from "../../src/protocol/Audit.js"
import * as Billing from "../../src/protocol/Billing.js"
import * as Checkpoint from "../../src/protocol/Checkpoint.js"
import type * as Datum from "../../src/protocol/Datum.js"
import * as ForwardBackwardJson from "../../src/protocol/ForwardBackwardJson.js"
import * as Futures from "../../src/protocol/Futures.js"
import * as Json from "../../src/protocol/Json.js"
import * as Model from "../../src/protocol/Model.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import * as Sampling from "../../src/protocol/Sampling.js"
import * as Service from "../../src/protocol/Service.js"
import * as Session from "../../src/protocol/Session.js"
import * as TelemetryEvents from "../../src/protocol/TelemetryEvents.js"
import * as TensorData from "../../src/protocol/TensorData.js"
import * as Training from "../../src/protocol/Training.js"
import * as Weights from "../../src/protocol/Weights.js"
import { output, request, sampleResponse } from "./support.js"

const isSchema = (u: unknown): u is Schema.Schema<unknown, unknown> => Schema.isSchema(u)

const modules = {
  Audit,
  Billing,
  Checkpoint,
  Futures,
  Model,
  Sampling,
  Service,
  Session,
  TelemetryEvents,
  Training,
  Weights
}

/** Schemas whose values only their own arbitrary can make, tested below. */
const apart = new Set(["Sampling.SampleResponseSchema", "Checkpoint.ListQuery"])

const wire = Object.entries(modules).flatMap(([name, module]) =>
  Object.entries(module as Record<string, unknown>).flatMap(([key, schema]) =>
    isSchema(schema) && !apart.has(`${name}.${key}`) ? [[`${name}.${key}`, schema] as const] : []
  )
)

const isPlain = (u: unknown): u is Record<string, unknown> =>
  typeof u === "object" && u !== null && Object.getPrototypeOf(u) === Object.prototype

/** Without keys whose value is undefined: they are the same as absent ones. */
const compact = (u: unknown): unknown => {
  if (Array.isArray(u)) return u.map(compact)
  if (!isPlain(u)) return u
  const out: Record<string, unknown> = {}
  for (const key of Object.keys(u)) {
    if (u[key] !== undefined && key !== "__proto__") out[key] = compact(u[key])
  }
  return out
}

describe("every wire schema", () => {
  it("is found", () => assert.isAbove(wire.length, 70))

  for (const [name, schema] of wire) {
    it(`${name}: what is written is read back, and unknown keys are dropped`, () => {
      const encode = Schema.encodeSync(schema)
      const decode = Schema.decodeUnknownSync(schema)
      // maps and records that keep every key are told apart by keeping this one
      const open = (value: object) => "unknown key of a newer server" in value
      fc.assert(
        fc.property(Arbitrary.make(schema), (value) => {
          const written = encode(value)
          assert.deepStrictEqual(compact(decode(written)), compact(value))
          if (!isPlain(written)) return
          const more = decode({ ...written, "unknown key of a newer server": 1 })
          if (isPlain(more) && !open(more)) assert.deepStrictEqual(compact(more), compact(value))
        }),
        { numRuns: 30 }
      )
    })
  }
})

const written = <A, I>(schema: Schema.Schema<A, I>, value: A): string =>
  Json.stringify(Schema.encodeSync(schema)(value))

describe("requests have the official names", () => {
  it("asample", () => {
    assert.deepStrictEqual(
      JSON.parse(written(Sampling.SampleRequest, {
        numSamples: 2,
        prompt: ModelInput.fromTokens([1, 2, 3]),
        samplingParams: { ...Sampling.samplingDefaults, maxTokens: 4, stop: ["x"] },
        samplingSessionId: "sess-1:sample:0",
        seqId: 0,
        promptLogprobs: true,
        topkPromptLogprobs: 2,
        topkSampleLogprobs: 0,
        promptAltTokensK: 0
      })),
      {
        num_samples: 2,
        prompt: { chunks: [{ tokens: [1, 2, 3], type: "encoded_text" }] },
        sampling_params: { max_tokens: 4, stop: ["x"], temperature: 1, top_k: -1, top_p: 1 },
        sampling_session_id: "sess-1:sample:0",
        seq_id: 0,
        prompt_logprobs: true,
        topk_prompt_logprobs: 2,
        topk_sample_logprobs: 0,
        prompt_alt_tokens_k: 0,
        type: "sample"
      }
    )
  })

  it("optim_step", () => {
    assert.strictEqual(
      written(Training.OptimStepRequest, { adamParams: Training.adamParams(), modelId: "sess-1:train:0", seqId: 3 }),
      "{\"adam_params\":{\"learning_rate\":0.0001,\"beta1\":0.9,\"beta2\":0.95,\"eps\":1e-12,\"weight_decay\":0,\"grad_clip_norm\":0},\"model_id\":\"sess-1:train:0\",\"seq_id\":3,\"type\":\"optim_step\"}"
    )
    assert.strictEqual(
      written(Training.OptimStepRequest, { optimizerParams: { type: "dimuon", learning_rate: 0.1 }, modelId: "m" }),
      "{\"optimizer_params\":{\"type\":\"dimuon\",\"learning_rate\":0.1},\"model_id\":\"m\",\"type\":\"optim_step\"}"
    )
  })

  it("create_model, save_weights_for_sampler, load_weights, retrieve_future", () => {
    assert.strictEqual(
      written(Model.CreateModelRequest, {
        sessionId: "s",
        modelSeqId: 0,
        baseModel: "b",
        loraConfig: Training.loraConfig({ rank: 8, seed: undefined })
      }),
      "{\"session_id\":\"s\",\"model_seq_id\":0,\"base_model\":\"b\",\"lora_config\":{\"rank\":8,\"train_unembed\":true,\"train_mlp\":true,\"train_attn\":true},\"type\":\"create_model\"}"
    )
    assert.strictEqual(
      written(Weights.SaveWeightsForSamplerRequest, { modelId: "m", samplingSessionSeqId: 1, seqId: 2 }),
      "{\"model_id\":\"m\",\"sampling_session_seq_id\":1,\"seq_id\":2,\"type\":\"save_weights_for_sampler\"}"
    )
    assert.strictEqual(
      written(Weights.LoadWeightsRequest, {
        modelId: "m",
        seqId: 1,
        path: "p",
        optimizer: false,
        weightsAccessToken: Redacted.make("token")
      }),
      "{\"model_id\":\"m\",\"seq_id\":1,\"path\":\"p\",\"optimizer\":false,\"weights_access_token\":\"token\",\"type\":\"load_weights\"}"
    )
    assert.strictEqual(
      written(Futures.RetrieveFutureRequest, { requestId: "r", allowMetadataOnly: true }),
      "{\"request_id\":\"r\",\"allow_metadata_only\":true}"
    )
    assert.strictEqual(written(Checkpoint.SetTtlRequest, { ttlSeconds: null }), "{\"ttl_seconds\":null}")
    assert.strictEqual(
      written(Session.FinishSessionRequest, { reason: { type: "success" }, detail: null }),
      "{\"reason\":{\"type\":\"success\"},\"detail\":null}"
    )
  })
})

describe("answers", () => {
  it("of servers that send little get the official defaults", () => {
    assert.deepStrictEqual(
      Schema.decodeUnknownSync(Service.ClientConfig)({ new_flag: 1 }),
      Service.clientConfigDefaults
    )
    assert.deepStrictEqual(Service.clientConfigDefaults, {
      pjwtAuthEnabled: false,
      credentialDefaultSource: "api_key",
      sampleDispatchBytes: 10_485_760,
      inflightResponseBytes: 52_428_800,
      parallelFwdbwdChunks: true,
      protoCompressFwdbwd: false,
      fwdbwdMaxChunkLen: 1024,
      fwdbwdMaxChunkBytes: 5_000_000,
      fwdbwdDispatchBytes: 50_000_000,
      billingMaxPauseSeconds: 3600,
      sampleNoRetries: false,
      sampleEnableStuckDetection: true,
      sampleMaxConcurrentRequests: 2000,
      usePyqwestTransport: true,
      createModelViaLoadWeights: false,
      sampleUseRetrieveFutures: false,
      customLossServerSide: false,
      sampleJoinSamplingSession: false
    })
    assert.deepStrictEqual(Service.dynamicConfigDefaults, {
      refreshIntervalSec: 300,
      sampleCancelEnabled: false,
      sampleCancelMaxBatchSize: 64
    })
    assert.deepStrictEqual(Schema.decodeUnknownSync(Service.ClientLimits)({}), {})
    assert.deepStrictEqual(Schema.decodeUnknownSync(Training.AdamParams)({}), Training.adamDefaults)
    assert.deepStrictEqual(Schema.decodeUnknownSync(Sampling.SamplingParams)({}), Sampling.samplingDefaults)
    assert.deepStrictEqual(Schema.decodeUnknownSync(Training.OptimStepResponse)({ metrics: null }), { metrics: {} })
  })

  it("take null for what is not there, whatever their type says", () => {
    const read = Schema.decodeUnknownSync(Futures.UntypedFuture)({
      request_id: "r",
      model_id: null,
      sample_sequence_ids: null
    })
    assert.deepStrictEqual(compact(read), { requestId: "r" })
    assert.deepStrictEqual(Schema.decodeUnknownSync(Model.CreateModelResponse)({ model_id: "m", type: null }), {
      modelId: "m"
    })
    assert.deepStrictEqual(Schema.decodeUnknownSync(Model.CreateModelResponse)({ model_id: "m" }), { modelId: "m" })
  })

  it("keep members and words of newer servers", () => {
    const status = Schema.decodeUnknownSync(Session.SessionStatus)
    assert.deepStrictEqual(status({ type: "expired", at: 1 }), { type: "unknown", wire: "expired" })
    assert.deepStrictEqual(Schema.encodeSync(Session.SessionStatus)({ type: "unknown", wire: "expired" }), {
      type: "expired"
    })
    assert.deepStrictEqual(status({ type: "cancelled", detail: "d" }), { type: "cancelled", detail: "d" })
    assert.deepStrictEqual(Schema.decodeUnknownSync(Billing.BillingEventInfo)({ type: "evaluation", count: 1 }), {
      type: "unknown",
      wire: "evaluation"
    })
    const checkpoint = Schema.decodeUnknownSync(Checkpoint.Checkpoint)({
      checkpoint_id: "merged/x",
      checkpoint_type: "merged",
      time: "2026-11-11 00:00:00",
      tinker_path: "tinker://r/merged/x"
    })
    assert.strictEqual(checkpoint.checkpointType, "merged")
    assert.strictEqual(checkpoint.public, false)
  })

  it("read dates with and without zone, and refuse what is none", () => {
    const time = (text: string) =>
      DateTime.toEpochMillis(Schema.decodeUnknownSync(Checkpoint.ArchiveUrl)({ url: "u", expires: text }).expires)
    const expected = Date.UTC(2026, 10, 11, 1, 2, 3)
    for (
      const text of [
        "2026-11-11T01:02:03Z",
        "2026-11-11T01:02:03",
        "2026-11-11 01:02:03",
        "2026-11-11T02:02:03+01:00",
        "2026-11-11T01:02:03.000Z"
      ]
    ) assert.strictEqual(time(text), expected, text)
    assert.strictEqual(time("2026-11-11T01:02:03.456789"), expected + 456)
    assert.throws(() => time("tomorrow"))
  })

  it("hide tokens", () => {
    const read = Schema.decodeUnknownSync(Service.AuthTokenResponse)({ jwt: "eyJsecret" })
    assert.notInclude(JSON.stringify(read) + String(read.jwt), "secret")
    assert.strictEqual(Redacted.value(read.jwt), "eyJsecret")
  })
})

describe("integers beyond 2^53", () => {
  it("pass through a sample request unchanged", () => {
    const text =
      "{\"num_samples\":1,\"prompt\":{\"chunks\":[]},\"sampling_params\":{\"seed\":9223372036854775813,\"temperature\":1,\"top_k\":-1,\"top_p\":1},\"sampling_session_id\":\"s\",\"seq_id\":224978767000000001,\"topk_prompt_logprobs\":0,\"topk_sample_logprobs\":0,\"prompt_alt_tokens_k\":0,\"type\":\"sample\"}"
    const read = Schema.decodeUnknownSync(Sampling.SampleRequest)(Json.unsafeParse(text))
    assert.strictEqual(read.seqId, 224978767000000001n)
    assert.strictEqual(read.samplingParams.seed, 9223372036854775813n)
    assert.strictEqual(written(Sampling.SampleRequest, read), text)
  })
})

describe("metrics", () => {
  it("that are written with more digits than a number holds are numbers all the same", () => {
    const text = "{\"metrics\":{\"a:hash_unordered\":-7813438383599366905,\"b:sum\":1e300}}"
    assert.deepStrictEqual(Schema.decodeUnknownSync(Training.OptimStepResponse)(Json.unsafeParse(text)).metrics, {
      "a:hash_unordered": Number(-7813438383599366905n),
      "b:sum": 1e300
    })
  })
})

describe("stop", () => {
  const stop = (params: object) => compact(Schema.decodeUnknownSync(Sampling.SamplingParams)(params))

  it("is absent, null, empty, text or ids, and none of them becomes another", () => {
    assert.notProperty(stop({}), "stop")
    assert.notProperty(stop({ stop: null }), "stop")
    for (const given of [[], "x", ["x", "y"], [1, 2]]) {
      assert.deepStrictEqual(stop({ stop: given }), { ...Sampling.samplingDefaults, stop: given })
      const params = Schema.decodeUnknownSync(Sampling.SamplingParams)({ stop: given })
      assert.deepStrictEqual(JSON.parse(written(Sampling.SamplingParams, params)).stop, given)
    }
    assert.throws(() => stop({ stop: [1, "x"] }))
  })
})

describe("sample results in JSON", () => {
  const decode = Schema.decodeUnknownSync(Sampling.SampleResponseSchema)

  it("keep every result but the cells that hold nothing", () => {
    fc.assert(fc.property(sampleResponse, (value) => {
      const topks = [value.topkPromptLogprobs, ...value.sequences.map(({ topkLogprobs }) => topkLogprobs)]
      const floats = [
        value.promptLogprobs,
        ...value.sequences.map(({ logprobs }) => logprobs),
        ...topks.map((one) => one?.logprobs)
      ]
      // JSON has no infinities and no negative zero
      fc.pre(!floats.some((list) => list?.some((one) => Math.abs(one) === Infinity || Object.is(one, -0))))
      fc.pre(!topks.some((one) => one?.logprobs.some((logprob) => logprob === -99999)))
      const text = written(Sampling.SampleResponseSchema, value)
      assert.deepStrictEqual(decode(JSON.parse(text)), value)
    }))
  })

  it("have the older shape", () => {
    const read = decode({
      sequences: [{
        stop_reason: "stop",
        tokens: [1],
        logprobs: [-0.5],
        sequence_id: "q",
        topk_logprobs: [[[1, -0.5]]]
      }],
      type: "sample",
      prompt_logprobs: [null, -1],
      topk_prompt_logprobs: [null, [[5, -1], [6, -2]], [[7, -3]]]
    })
    assert.deepStrictEqual(read, {
      sequences: [{
        stopReason: "stop",
        tokens: Int32Array.of(1),
        logprobs: Float32Array.of(-0.5),
        topkLogprobs: { tokens: Int32Array.of(1), logprobs: Float32Array.of(-0.5), k: 1, length: 1 },
        sequenceId: "q"
      }],
      promptLogprobs: Float32Array.of(Number.NaN, -1),
      topkPromptLogprobs: {
        tokens: Int32Array.of(0, 0, 5, 6, 7, 0),
        logprobs: Float32Array.of(-99999, -99999, -1, -2, -3, -99999),
        k: 2,
        length: 3
      },
      promptCacheHitTokens: 0
    })
    assert.deepStrictEqual(Sampling.topkRows(read.topkPromptLogprobs!), [null, [[5, -1], [6, -2]], [[7, -3]]])
    assert.deepStrictEqual(JSON.parse(written(Sampling.SampleResponseSchema, read)).sequences[0].sequence_id, "q")
    assert.deepStrictEqual(
      Sampling.topkRows({ tokens: new Int32Array(0), logprobs: new Float32Array(0), k: 0, length: 3 }),
      []
    )
    assert.throws(() => decode({ sequences: [{ stop_reason: "eos", tokens: [] }] }))
  })
})

describe("training requests and results in JSON", () => {
  const decodeRequest = Schema.decodeUnknownSync(ForwardBackwardJson.RequestSchema)

  it("keep every request but its provenance", () => {
    fc.assert(fc.property(request, (value) => {
      const whole = JSON.stringify(
        value,
        (_, one: unknown) =>
          one instanceof Float32Array && !one.every(Number.isFinite) ||
            typeof one === "number" && (!Number.isFinite(one) || Object.is(one, -0))
            ? "not in JSON"
            : typeof one === "bigint"
            ? String(one)
            : ArrayBuffer.isView(one)
            ? null
            : one
      )
      fc.pre(!whole.includes("not in JSON") && !whole.includes("__proto__"))
      const data = value.data.map(({ lossFnInputs, modelInput }): Datum.Datum => ({
        modelInput: {
          chunks: modelInput.chunks.map((chunk) =>
            chunk.type === "encoded_text" ? { ...chunk, tokens: Array.from(chunk.tokens) } : chunk
          )
        },
        lossFnInputs
      }))
      const text = written(ForwardBackwardJson.RequestSchema, value)
      assert.deepStrictEqual(decodeRequest(Json.unsafeParse(text)), { ...value, data })
    }))
  })

  it("go by the name of their input", () => {
    const input = {
      data: [{ model_input: { chunks: [] }, loss_fn_inputs: { weights: { data: [1], dtype: "float32" } } }, {
        model_input: { chunks: [] }
      }],
      loss_fn: "ppo",
      loss_fn_config: { clip: 1, mode: "x" }
    }
    const backward = decodeRequest({ model_id: "m", seq_id: 4, forward_backward_input: input })
    assert.strictEqual(backward.forwardOnly, false)
    assert.strictEqual(backward.seqId, 4)
    assert.deepStrictEqual(backward.lossFnConfig, { clip: 1, mode: "x" })
    assert.deepStrictEqual(backward.data[0]!.lossFnInputs["weights"], TensorData.make([1]))
    assert.deepStrictEqual(backward.data[1]!.lossFnInputs, {})
    const forward = decodeRequest({ model_id: "m", forward_input: { ...input, loss_fn_config: null } })
    assert.strictEqual(forward.forwardOnly, true)
    assert.strictEqual(forward.seqId, 0)
    assert.notProperty(forward, "lossFnConfig")
    assert.throws(() => decodeRequest({ model_id: "m" }), /forward_backward_input or forward_input/)
    assert.property(Schema.encodeSync(ForwardBackwardJson.RequestSchema)(forward), "forward_input")
  })

  it("keep every result", () => {
    const decode = Schema.decodeUnknownSync(ForwardBackwardJson.OutputSchema)
    fc.assert(fc.property(output, (value) => {
      fc.pre(Object.values(value.metrics).every((n) => Number.isFinite(n) && !Object.is(n, -0)))
      fc.pre(!Object.hasOwn(value.metrics, "__proto__"))
      fc.pre(!value.lossFnOutputs.some((one) => Object.hasOwn(one, "__proto__")))
      assert.deepStrictEqual(decode(Json.unsafeParse(written(ForwardBackwardJson.OutputSchema, value))), value)
    }))
  })
})

describe("list queries", () => {
  it("are text in URLs", () => {
    const query = Schema.decodeUnknownSync(Checkpoint.ListQuery)
    assert.deepStrictEqual(compact(query({ limit: "20", offset: "0", access_scope: "owned", project_id: "p" })), {
      limit: 20,
      offset: 0,
      accessScope: "owned",
      projectId: "p"
    })
    assert.deepStrictEqual(compact(query({})), {})
    for (const limit of ["-1", "1.5", "x"]) assert.throws(() => query({ limit }))
  })
})

describe("constructors", () => {
  it("do not let undefined cover a default", () => {
    assert.deepStrictEqual(Training.adamParams({ learningRate: 1, beta1: undefined as never }), {
      ...Training.adamDefaults,
      learningRate: 1
    })
    assert.strictEqual(Training.loraConfig().rank, 32)
    assert.strictEqual(Model.modelIdOf("s", 2), "s:train:2")
  })

  it("of learning rates that JSON cannot carry are refused when written", () => {
    assert.throws(() => Schema.encodeSync(Training.AdamParams)(Training.adamParams({ learningRate: Number.NaN })))
  })
})
