import * as HttpBody from "@effect/platform/HttpBody"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import { deflateSync, gzipSync } from "node:zlib"
import * as ForwardBackwardCodec from "../../src/protocol/ForwardBackwardCodec.js"
import * as SampleCodec from "../../src/protocol/SampleCodec.js"
import * as Zstd from "../../src/protocol/Zstd.js"
import type { Fault, FaultPoint } from "../../src/server/FaultInjector.js"
import * as Harness from "./fixtures/harness.js"

const protobuf = { accept: "application/x-protobuf" }

describe("Server", () => {
  it.scoped("trains, saves for sampling and samples", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const config = yield* h.post("/client/config", { sdk_version: "0.38.0" })
      assert.strictEqual(config.status, 200)
      assert.strictEqual(config.body.pjwt_auth_enabled, false)
      const model = yield* h.model
      const pass = yield* h.forwardBackward(model, 1, [Harness.datum(3, 4), Harness.datum(5)])
      assert.strictEqual(pass.status, 202)
      const step = yield* h.post("/optim_step", { model_id: model, seq_id: 2, adam_params: { learning_rate: 1 } })
      const save = yield* h.post("/save_weights_for_sampler", {
        model_id: model,
        seq_id: 3,
        sampling_session_seq_id: 0
      })
      const output = yield* Effect.flatMap(
        h.retrieve(pass.body.request_id, protobuf),
        (answer) => ForwardBackwardCodec.decodeOutput(answer.bytes)
      )
      assert.strictEqual(output.metrics["loss:sum"], 12)
      assert.deepStrictEqual(output.lossFnOutputs.map((_) => _["logprobs"]!.shape), [[2], [1]])
      assert.deepStrictEqual((yield* h.retrieve(step.body.request_id)).body, {
        metrics: { "unclipped_grad_l2:mean": 12 }
      })
      const saved = yield* h.retrieve(save.body.request_id)
      assert.match(saved.body.sampling_session_id, /:sample:0$/)
      const asked = yield* h.post("/asample", {
        sampling_session_id: saved.body.sampling_session_id,
        seq_id: 0,
        num_samples: 2,
        prompt: { chunks: [{ type: "encoded_text", tokens: [1, 2] }] },
        sampling_params: { max_tokens: 3 },
        prompt_logprobs: true
      })
      assert.strictEqual(asked.status, 202)
      assert.strictEqual(asked.body.sample_sequence_ids.length, 2)
      const sampled = yield* Effect.flatMap(
        h.retrieve(asked.body.request_id, protobuf),
        (answer) => SampleCodec.decodeResponse(answer.bytes)
      )
      assert.deepStrictEqual(sampled.sequences.map((_) => [..._.tokens]), [[12, 12, 12], [12, 12, 12]])
      const json = yield* h.retrieve(asked.body.request_id)
      assert.deepStrictEqual(json.body.prompt_logprobs, [null, -1])
    }))

  it.scoped("answers every path with a body, a length, and no value that was sent", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const answers = [
        yield* h.get("/nothing"),
        yield* h.post("/create_model", "{"),
        yield* h.post("/create_model", "[1,2]"),
        yield* h.post("/create_model", Uint8Array.of(0xff, 0xfe)),
        yield* h.post("/create_model", { session_id: 7, model_seq_id: "SECRET", base_model: "SECRET" }),
        yield* h.post("/create_session", { tags: "SECRET", sdk_version: "x" }),
        yield* h.post("/retrieve_future", { request_id: "SECRET" }),
        yield* h.post("/forward_backward", { model_id: "SECRET" }),
        yield* h.post("/forward_backward", Uint8Array.of(1, 2, 3), { "content-type": "application/x-protobuf" }),
        yield* h.post("/forward_backward", "SECRET", { "content-type": "text/plain" }),
        yield* h.post("/optim_step", { model_id: "SECRET", seq_id: 1, adam_params: {} }),
        yield* h.post("/optim_step", {}, { "content-encoding": "br" })
      ]
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [404, 400, 400, 400, 400, 400, 404, 400, 400, 415, 404, 415]
      )
      for (const { body, bytes, headers } of answers) {
        assert.isString(body.detail)
        assert.isAbove(body.detail.length, 10)
        assert.notInclude(JSON.stringify(body), "SECRET")
        assert.strictEqual(Number(headers.get("content-length")), bytes.length)
      }
      assert.include(answers[4]!.body.detail, "session_id")
    }))

  it.scoped("reads bodies that are compressed, up to its limit", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { bodyBytes: 100_000 } })
      const model = yield* h.model
      const body = JSON.stringify({
        model_id: model,
        forward_backward_input: {
          data: Array.from({ length: 50 }, () => ({
            model_input: { chunks: [{ type: "encoded_text", tokens: [1] }] },
            loss_fn_inputs: {
              target_tokens: { data: [2], dtype: "int64", shape: [1] },
              weights: { data: [1], dtype: "float32", shape: [1] }
            }
          })),
          loss_fn: "cross_entropy"
        }
      })
      const bytes = new TextEncoder().encode(body)
      const compressed = {
        gzip: new Uint8Array(gzipSync(bytes)),
        deflate: new Uint8Array(deflateSync(bytes)),
        zstd: yield* Zstd.compress(bytes)
      }
      for (const [encoding, small] of Object.entries(compressed)) {
        assert.isBelow(small.length, bytes.length / 10)
        const answer = yield* h.post("/forward_backward", small, { "content-encoding": encoding })
        assert.strictEqual(answer.status, 202, encoding)
        assert.strictEqual((yield* h.retrieve(answer.body.request_id)).body.metrics["loss:sum"], 100)
        const broken = yield* h.post("/forward_backward", small.slice(0, -5), { "content-encoding": encoding })
        assert.strictEqual(broken.status, 400, encoding)
      }
      const bomb = new Uint8Array(10_000_000)
      const bombs = {
        gzip: new Uint8Array(gzipSync(bomb)),
        deflate: new Uint8Array(deflateSync(bomb)),
        zstd: yield* Zstd.compress(bomb),
        identity: bomb.subarray(0, 100_001)
      }
      for (const [encoding, body] of Object.entries(bombs)) {
        const answer = yield* h.post("/forward_backward", body, { "content-encoding": encoding })
        assert.strictEqual(answer.status, 413, encoding)
      }
    }))

  it.scoped("lets in who has the key, in either header, or a token made from it", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ apiKey: Redacted.make("tml-right") })
      const config = (headers: Record<string, string>) =>
        Effect.map(h.post("/client/config", { sdk_version: "x" }, headers), ({ body, status }) => {
          assert.notInclude(JSON.stringify(body), "tml-")
          return status
        })
      assert.strictEqual(yield* config({}), 401)
      assert.strictEqual(yield* config({ "x-api-key": "tml-wrong" }), 401)
      assert.strictEqual(yield* config({ "x-api-key": "tml-right" }), 200)
      assert.strictEqual(yield* config({ authorization: "Bearer tml-right" }), 200)
      assert.strictEqual((yield* h.post("/auth/token", {})).status, 401)
      const { body } = yield* h.post("/auth/token", {}, { "x-api-key": "tml-right" })
      const claims = JSON.parse(atob(body.jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")))
      assert.include(claims.iss, "passport-")
      assert.strictEqual(claims.exp, 3600)
      assert.strictEqual(yield* config({ "x-api-key": body.jwt }), 200)
      assert.strictEqual(yield* config({ "x-api-key": `${body.jwt}x` }), 401)
      yield* TestClock.adjust("1 hours")
      assert.strictEqual(yield* config({ "x-api-key": body.jwt }), 401)
      assert.strictEqual((yield* h.get("/healthz")).status, 200)
      assert.strictEqual((yield* h.get("/api/v1/training_runs")).status, 401)
    }))

  it.scoped("makes models once per number, and refuses settings that cannot be", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { models: 2 } })
      const session_id = yield* h.session
      const create = (model_seq_id: number, more: object = {}) =>
        h.post("/create_model", {
          session_id,
          model_seq_id,
          base_model: "test/tiny",
          lora_config: { rank: 8 },
          optimizer_config: { type: "adamw" },
          ...more
        })
      const once = yield* create(0)
      assert.deepStrictEqual((yield* create(0)).body, once.body)
      assert.strictEqual((yield* create(0, { lora_config: { rank: 16 } })).status, 409)
      assert.deepStrictEqual((yield* h.retrieve(once.body.request_id)).body, {
        model_id: `${session_id}:train:0`,
        type: "create_model"
      })
      const bad: ReadonlyArray<readonly [object, string]> = [
        [{ base_model: "" }, "base_model is required"],
        [{ base_model: "other" }, "test/tiny"],
        [{ lora_config: { rank: 0 } }, "lora_config.rank must be positive"],
        [{ lora_config: { rank: 3 } }, "power of 2"],
        [{ lora_config: { rank: 8, train_attn: false, train_mlp: false, train_unembed: false } }, "At least one"],
        [{ optimizer_config: { type: "dimuon", version: 1 } }, "optimizer_config"],
        [{ model_seq_id: -1 }, "model_seq_id"]
      ]
      for (const [more, text] of bad) {
        const answer = yield* create(1, more)
        assert.strictEqual(answer.status, 400)
        assert.include(answer.body.detail, text)
      }
      assert.strictEqual((yield* h.retrieve((yield* create(1)).body.request_id)).body.model_id, `${session_id}:train:1`)
      const beyond = yield* h.retrieve((yield* create(2)).body.request_id)
      assert.strictEqual(beyond.body.category, "user")
      assert.include(beyond.body.error, "2 training runs")
      const full = h.engine.calls.find(({ method }) => method === "createRun")!.detail
      assert.deepInclude(full as object, { baseModel: "test/tiny" })
    }))

  it.scoped("knows models by their aliases, and says both names", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ aliases: { "Qwen/Qwen3-8B": "test/tiny", "x": "nothing" } })
      const { body } = yield* h.get("/get_server_capabilities")
      const names = body.supported_models.map((_: { model_name: string }) => _.model_name)
      assert.deepStrictEqual(names, ["test/tiny", "Qwen/Qwen3-8B"])
      assert.deepStrictEqual(body.supported_models[1], {
        model_name: "Qwen/Qwen3-8B",
        max_context_length: 64,
        trainable: true,
        sampleable: true,
        tokenizer_id: "test/tiny-tokenizer",
        has_chat_template: false
      })
      const created = yield* h.post("/create_model", {
        session_id: yield* h.session,
        model_seq_id: 0,
        base_model: "Qwen/Qwen3-8B",
        lora_config: { rank: 8 }
      })
      const info = yield* h.post("/get_info", { model_id: created.body.model_id })
      assert.strictEqual(info.body.model_name, "Qwen/Qwen3-8B")
    }))

  it.scoped("refuses steps with settings out of range, and takes the settings' defaults", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model_id = yield* h.model
      const bad = [
        { adam_params: { beta1: 1 } },
        { adam_params: { beta2: -0.1 } },
        { adam_params: { eps: -1 } },
        { optimizer_params: { type: "dimuon", learning_rate: 1 } }
      ]
      for (const [i, more] of bad.entries()) {
        assert.strictEqual((yield* h.post("/optim_step", { model_id, seq_id: i + 1, ...more })).status, 400)
      }
      assert.strictEqual((yield* h.post("/optim_step", { model_id, seq_id: 0, adam_params: {} })).status, 400)
      const step = yield* h.post("/optim_step", { model_id, seq_id: 5 })
      yield* h.retrieve(step.body.request_id)
      assert.deepStrictEqual(h.engine.calls.at(-1), { method: "optimStep", id: model_id, detail: 0.0001 })
    }))

  it.scoped("always accepts telemetry, sends no bills, and says clearly what it does not have", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      for (const body of [{}, { events: "x" }, [1]]) {
        assert.deepStrictEqual((yield* h.post("/telemetry", body)).body, { status: "accepted" })
      }
      const usage = yield* h.get(
        "/billing/usage/events?starting_on=2026-01-01T00:00:00Z&ending_before=2026-01-02T00:00:00Z"
      )
      assert.deepStrictEqual(usage.body, { data: [], sessions: {} })
      const storage = yield* h.get("/billing/usage/checkpoints/current")
      assert.deepStrictEqual(storage.body.data, [{ checkpoint_count: 0, size_bytes: 0, size_gigabytes: 0 }])
      assert.deepStrictEqual((yield* h.get("/audit?event_type=all")).body, { entries: [] })
      const trace = yield* h.get(`/sessions/${yield* h.session}/trace_export`)
      assert.strictEqual(trace.body.status, "failed")
      assert.strictEqual((yield* h.post("/create_custom_loss", {})).status, 501)
      const config = yield* h.post("/client/dynamic_config", { sdk_version: "x" })
      assert.deepStrictEqual(config.body, {
        refresh_interval_sec: 300,
        sample_cancel_enabled: true,
        sample_cancel_max_batch_size: 64
      })
      const key = yield* h.get("/auth/apikey/me")
      assert.strictEqual(key.body.name, "local")
    }))

  it.scoped("works under any base path", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const answer = yield* Effect.promise(() =>
        h.server.fetch(new Request("http://test/services/prod/api/v1/healthz"))
      )
      assert.deepStrictEqual(yield* Effect.promise(() => answer.json()), { status: "ok" })
    }))

  it.scoped("is a client too, without a socket", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const answer = yield* h.server.client.post("http://anything/api/v1/create_session", {
        body: HttpBody.unsafeJson({ sdk_version: "x" })
      })
      assert.strictEqual(answer.status, 200)
      assert.property(yield* answer.json, "session_id")
    }))

  it.scoped("describes itself, and counts what it answers", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const api = yield* h.request("GET", "/../../openapi.json")
      assert.property(api.body.paths, "/api/v1/create_session")
      yield* h.session
      yield* h.get("/nothing")
      const metrics = yield* h.request("GET", "/../../metrics")
      const text = new TextDecoder().decode(metrics.bytes)
      assert.include(text, "tinkex_server_requests_total{endpoint=\"create_session\",status=\"200\"} 1")
      assert.include(text, "tinkex_server_requests_total{endpoint=\"unknown\",status=\"404\"} 1")
      assert.include(text, "tinkex_server_sessions 1")
    }))

  it.scoped("does and does not do what a fault leaves undone", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const step = (seqId: number) =>
        Effect.exit(Effect.promise(() =>
          h.server.fetch(
            new Request("http://test/api/v1/optim_step", {
              method: "POST",
              body: JSON.stringify({ model_id: model, seq_id: seqId, adam_params: {} })
            })
          ).then(async (answer) => ({ status: answer.status, text: await answer.text() }))
        ))
      const seen: Array<unknown> = []
      const inject = (phase: FaultPoint["phase"], fault: Fault) =>
        h.faults((point) => {
          if (point.endpoint !== "optim_step" || point.phase !== phase) return []
          seen.push(
            point.phase === "reply" ? [point.modelId, point.seqId, point.requestId, point.status] : point.method
          )
          return [fault]
        })
      inject("request", { _tag: "Respond", status: 503, headers: { "x-should-retry": "true" }, body: { detail: "no" } })
      const refused = yield* Effect.flatten(step(1))
      assert.deepStrictEqual(refused, { status: 503, text: "{\"detail\":\"no\"}" })
      inject("request", { _tag: "Reset" })
      assert.isTrue(Exit.isFailure(yield* step(1)))
      assert.notInclude(h.methods(), "optimStep")
      inject("reply", { _tag: "Reset" })
      assert.isTrue(Exit.isFailure(yield* step(1)))
      inject("reply", { _tag: "Truncate", bytes: 5 })
      assert.isTrue(Exit.isFailure(yield* step(2)))
      inject("reply", { _tag: "Malform" })
      const malformed = yield* Effect.flatten(step(3))
      assert.strictEqual(malformed.status, 202)
      assert.throws(() => JSON.parse(malformed.text))
      inject("reply", { _tag: "Drip", bytes: 10, interval: 0 })
      assert.include((yield* Effect.flatten(step(4))).text, "request_id")
      yield* Harness.until(Effect.map(h.applied, (entries) => entries.length === 5))
      assert.deepStrictEqual((yield* h.applied).map(({ seqId }) => seqId), [0, 1, 2, 3, 4])
      assert.deepStrictEqual(seen[2], [model, 1, `${model}:1`, 202])
    }))

  it.scoped("holds an applied operation when a fault says so", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      h.faults(({ endpoint, phase }) =>
        phase === "applied" && endpoint === "optim_step" ? [{ _tag: "Delay", duration: "10 seconds" }] : []
      )
      const step = yield* h.optimStep(model, 1)
      const poll = yield* Effect.fork(h.retrieve(step.body.request_id))
      yield* h.held(1)
      yield* Harness.until(Effect.map(h.applied, (entries) => entries.length === 2))
      yield* TestClock.adjust("9 seconds")
      yield* h.held(1)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* Fiber.join(poll)).status, 200)
    }))
})
