/** The forms in which requests and answers travel. */
import * as Effect from "effect/Effect"
import * as ForwardBackwardCodec from "../../protocol/ForwardBackwardCodec.js"
import * as Zstd from "../../protocol/Zstd.js"
import { type Check, Deviation, inGroup, Lacking, that } from "../check.js"
import { field, text, wordsOf } from "../peer.js"
import * as Trainer from "../trainer.js"
import { first, inputs, length, targets } from "./data.js"

const check = inGroup("wire")
const source = "transport"

export const wire: ReadonlyArray<Check> = [
  check("healthz", "healthz says ok", { source }, (peer) =>
    Effect.gen(function*() {
      const answer = yield* peer.get("/healthz")
      yield* that(answer.status === 200 && text(answer.json, "status") === "ok", `200 {"status":"ok"}`, () =>
        wordsOf(answer))
    })),
  check("client-config", "client/config answers an object; whether keys are exchanged for tokens is a boolean", {
    source
  }, (peer) =>
    Effect.gen(function*() {
      const answer = yield* peer.post("/client/config", { sdk_version: "0.38.0" })
      yield* that(answer.status === 200 && typeof answer.json === "object", "200 and an object", () => wordsOf(answer))
      const exchange = field(answer.json, "pjwt_auth_enabled")
      yield* that(exchange === undefined || typeof exchange === "boolean", "a boolean pjwt_auth_enabled", () =>
        String(exchange))
    })),
  check(
    "dynamic-config",
    "client/dynamic_config answers, or says that it is not there",
    { source },
    (peer) =>
      Effect.gen(function*() {
        const answer = yield* peer.post("/client/dynamic_config", { sdk_version: "0.38.0" })
        yield* that(answer.status === 200 || answer.status === 404, "200 or 404", () => wordsOf(answer))
      })
  ),
  check(
    "capabilities",
    "get_server_capabilities names base models",
    { source: "models" },
    (peer) =>
      Effect.gen(function*() {
        const answer = yield* peer.get("/get_server_capabilities")
        const models = field(answer.json, "supported_models")
        yield* that(
          Array.isArray(models) && models.length > 0 && models.every((model) => text(model, "model_name") !== ""),
          "supported_models, each with a model_name",
          () => wordsOf(answer)
        )
      })
  ),
  check(
    "context-length",
    "a base model's context length is a positive number, where it is told",
    { source: "models" },
    (peer) =>
      Effect.gen(function*() {
        const answer = yield* peer.get("/get_server_capabilities")
        const models = field(answer.json, "supported_models")
        for (const model of Array.isArray(models) ? models : []) {
          const context: unknown = field(model, "max_context_length")
          yield* that(
            context === undefined || context === null || typeof context === "number" && context > 0,
            "a positive max_context_length",
            () => `${text(model, "model_name")}: ${String(context)}`
          )
        }
      })
  ),
  check(
    "unknown-fields",
    "fields that a server does not know are no mistake",
    { source },
    (peer) =>
      Effect.gen(function*() {
        const answer = yield* peer.post("/create_session", {
          tags: [],
          user_metadata: {},
          sdk_version: "0.38.0",
          a_field_of_tomorrow: { nested: [1] },
          type: "create_session"
        })
        yield* that(answer.status < 300, "a session", () => wordsOf(answer))
      })
  ),
  check(
    "telemetry",
    "telemetry is accepted: clients send it again for ever otherwise",
    { source: "telemetry" },
    (peer) =>
      Effect.gen(function*() {
        const answer = yield* peer.post("/telemetry", {
          events: [{
            event: "GENERIC_EVENT",
            event_id: "5b0cbb33-54f1-4bb5-93c9-9e6d5a2f6f7d",
            event_session_index: 0,
            severity: "INFO",
            timestamp: "2026-01-01T00:00:00Z",
            event_name: "conformance",
            event_data: {}
          }],
          platform: "Linux",
          sdk_version: "0.38.0",
          session_id: yield* peer.session,
          process_uuid: "5b0cbb33-54f1-4bb5-93c9-9e6d5a2f6f7e"
        })
        yield* that(
          answer.status < 300 && text(answer.json, "status") === "accepted",
          `{"status":"accepted"}`,
          () => wordsOf(answer)
        )
      })
  ),
  check("error-length", "a 400 has a body and says its length: without one clients take it for a proxy's", {
    source: "errors"
  }, (peer) =>
    Effect.gen(function*() {
      const answer = yield* peer.post("/create_model", "{ this is not JSON")
      yield* that(answer.status === 400 || answer.status === 422, "400 or 422", () => wordsOf(answer))
      const length = answer.headers["content-length"]
      yield* that(length === undefined ? answer.bytes.length > 0 : Number(length) > 0, "a body", () => "none")
    })),
  check("training-protobuf", "the result of a pass is protobuf when that is what is accepted", {
    source: "protobuf",
    trained: length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const answer = yield* Trainer.done(
        "a pass",
        yield* peer.outcome(yield* Trainer.accepted(yield* model.submitPass([first()])), { protobuf: true })
      )
      yield* that(
        answer.headers["content-type"]?.includes(ForwardBackwardCodec.mediaType) === true,
        `content-type ${ForwardBackwardCodec.mediaType}`,
        () => answer.headers["content-type"] ?? "none"
      )
    })),
  check("sample-protobuf", "the result of a sample is protobuf when that is what is accepted", {
    source: "protobuf",
    sampled: 5
  }, (peer) =>
    Effect.gen(function*() {
      const sampler = yield* Trainer.ofBase(peer)
      const id = yield* Trainer.accepted(yield* sampler.submit([8, 5, 12], { max_tokens: 2 }))
      const answer = yield* Trainer.done("a sample", yield* peer.outcome(id, { protobuf: true }))
      yield* that(
        answer.headers["content-type"]?.includes(ForwardBackwardCodec.mediaType) === true,
        `content-type ${ForwardBackwardCodec.mediaType}`,
        () => answer.headers["content-type"] ?? "none"
      )
    })),
  check(
    "zstd",
    "bodies compressed with zstd are read",
    { source: "protobuf", feature: "zstd", trained: length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const bytes = yield* Effect.orDie(ForwardBackwardCodec.encodeRequest({
          modelId: model.id,
          seqId: model.seq(),
          data: [first()],
          lossFn: "cross_entropy",
          forwardOnly: true
        }))
        const answer = yield* peer.post("/forward_backward", yield* Zstd.compress(bytes), {
          "content-type": ForwardBackwardCodec.mediaType,
          "content-encoding": "zstd"
        })
        if (answer.status >= 400) return yield* new Lacking({ feature: "zstd", detail: wordsOf(answer) })
        yield* Trainer.done("the pass", yield* peer.outcome(yield* Trainer.accepted(answer), { protobuf: true }))
      })
  ),
  check("json-training", "a pass may come as JSON, as from SDKs before 0.25", {
    source: "protobuf",
    feature: "json-training",
    trained: length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const tensor = (data: ReadonlyArray<number>, dtype: string) => ({ data, dtype, shape: [data.length] })
      const answer = yield* peer.post("/forward_backward", {
        model_id: model.id,
        seq_id: model.seq(),
        forward_backward_input: {
          data: [{
            model_input: { chunks: [{ type: "encoded_text", tokens: inputs }] },
            loss_fn_inputs: { target_tokens: tensor(targets, "int64"), weights: tensor(inputs.map(() => 1), "float32") }
          }],
          loss_fn: "cross_entropy"
        }
      })
      if (answer.status >= 400) return yield* new Lacking({ feature: "json-training", detail: wordsOf(answer) })
      const result = yield* Trainer.done("the pass", yield* peer.outcome(yield* Trainer.accepted(answer)))
      yield* that(field(result.json, "metrics", "loss:sum") !== undefined, "a JSON result with loss:sum", () =>
        wordsOf(result))
    })),
  check(
    "encoded-ids",
    "ids with a colon are found, as they are and percent-encoded",
    { source },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        for (const id of [sampler.id, encodeURIComponent(sampler.id)]) {
          const answer = yield* peer.get(`/samplers/${id}`)
          yield* that(
            answer.status === 200 && text(answer.json, "base_model") === peer.baseModel,
            "the sampler and its base model",
            () => wordsOf(answer)
          )
        }
      })
  ),
  check("model-ids", "a model's id is its session's, :train: and its seq id", {
    source: "models",
    feature: "model-ids"
  }, (peer) =>
    Effect.gen(function*() {
      const seq = peer.next()
      const session = yield* peer.session
      const created = yield* peer.post("/create_model", {
        session_id: session,
        model_seq_id: seq,
        base_model: peer.baseModel,
        lora_config: { rank: 8 },
        type: "create_model"
      })
      const answer = yield* Trainer.done("create_model", yield* peer.outcome(yield* Trainer.accepted(created)))
      const id = text(answer.json, "model_id")
      if (id !== `${session}:train:${seq}`) {
        return yield* new Lacking({ feature: "model-ids", detail: `an id of another form: ${id}` })
      }
    })),
  check("get-info", "get_info tells base model and rank", { source: "models" }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer, { rank: 4 })
      const answer = yield* peer.post("/get_info", { model_id: model.id, type: "get_info" })
      yield* that(answer.status === 200, "200", () => wordsOf(answer))
      const name = text(answer.json, "model_data", "model_name")
      yield* that(name === peer.baseModel, `model_data.model_name ${peer.baseModel}`, () => name)
      const rank = field(answer.json, "lora_rank")
      if (rank !== 4) return yield* new Deviation({ expected: "lora_rank 4", got: String(rank) })
    }))
]
