import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import { attempt } from "../../src/server/http/refusal.js"
import { validateSample } from "../../src/server/samplers/validateSample.js"
import type * as ServerConfig from "../../src/server/ServerConfig.js"
import * as Harness from "./fixtures/harness.js"
import * as RecordingEngine from "./fixtures/recordingEngine.js"

/** A body that comes in pieces, the last when `end` is called. */
const slowly = (h: Harness.Harness, path: string, bytes: number) => {
  let end = () => {}
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      controller.enqueue(new Uint8Array(bytes).fill(0x20))
      end = () => controller.close()
    }
  })
  const answer = Effect.promise(() =>
    h.server.fetch(new Request(`http://test/api/v1${path}`, { method: "POST", body, duplex: "half" } as RequestInit))
  )
  return { answer, end: () => end() }
}

const sampler = (h: Harness.Harness, session: string, seqId: number) =>
  h.post("/create_sampling_session", {
    session_id: session,
    sampling_session_seq_id: seqId,
    base_model: "test/tiny"
  })

const sample = (h: Harness.Harness, samplerId: string, seqId: number, more: object = {}) =>
  h.post("/asample", {
    sampling_session_id: samplerId,
    seq_id: seqId,
    prompt: { chunks: [{ type: "encoded_text", tokens: [1, 2] }] },
    num_samples: 1,
    sampling_params: { max_tokens: 2 },
    ...more
  })

/** What holds each limit, at the value given. */
const limits: {
  readonly [Name in keyof ServerConfig.Limits]: readonly [
    number,
    (h: Harness.Harness) => Effect.Effect<void, never, Scope.Scope>
  ]
} = {
  bodyBytes: [1000, (h) =>
    Effect.gen(function*() {
      assert.strictEqual((yield* h.post("/telemetry", " ".repeat(998) + "{}")).status, 200)
      assert.strictEqual((yield* h.post("/telemetry", " ".repeat(999) + "{}")).status, 413)
      const slow = slowly(h, "/telemetry", 1001)
      slow.end()
      assert.strictEqual((yield* slow.answer).status, 413)
    })],
  uploadBytes: [1000, (h) =>
    Effect.gen(function*() {
      const slow = slowly(h, "/telemetry", 900)
      const first = yield* Effect.fork(slow.answer)
      const ask = Effect.map(h.post("/telemetry", " ".repeat(200) + "{}"), ({ status }) => status)
      yield* Harness.until(Effect.map(ask, (status) => status === 429))
      slow.end()
      assert.strictEqual((yield* Fiber.join(first)).status, 400)
      assert.strictEqual(yield* ask, 200)
    })],
  models: [1, (h) =>
    Effect.gen(function*() {
      yield* h.model
      const session_id = yield* h.session
      const beyond = yield* h.post("/create_model", {
        session_id,
        model_seq_id: 0,
        base_model: "test/tiny",
        lora_config: { rank: 8 }
      })
      assert.include((yield* h.retrieve(beyond.body.request_id)).body.error, "as many as it may")
    })],
  samplers: [1, (h) =>
    Effect.gen(function*() {
      const session = yield* h.session
      for (const seqId of [0, 1, 2]) {
        const model = yield* h.model
        const save = yield* h.post("/save_weights_for_sampler", {
          model_id: model,
          seq_id: 1,
          sampling_session_seq_id: 0
        })
        const { body } = yield* h.retrieve(save.body.request_id)
        const asked = yield* sample(h, body.sampling_session_id, seqId)
        assert.strictEqual((yield* h.retrieve(asked.body.request_id)).status, 200)
      }
      yield* sampler(h, session, 0)
      assert.isAtMost(h.engine.samplers.size, 2)
    })],
  queuedOperations: [2, (h) =>
    Effect.gen(function*() {
      const model = yield* h.model
      yield* h.engine.pause
      const answers = yield* Effect.forEach(
        Array.from({ length: 17 }, (_, i) => i + 1),
        (seqId) => h.optimStep(model, seqId)
      )
      assert.deepStrictEqual(answers.map(({ status }) => status), [...Array.from({ length: 16 }, () => 202), 429])
    })],
  queuedSamples: [2, (h) =>
    Effect.gen(function*() {
      const { body } = yield* sampler(h, yield* h.session, 0)
      yield* h.engine.pause
      const answers = yield* Effect.forEach([0, 1, 2], (seqId) => sample(h, body.sampling_session_id, seqId))
      assert.deepStrictEqual(answers.map(({ status }) => status), [202, 202, 429])
      assert.isNotNull(answers[2]!.headers.get("retry-after"))
    })],
  concurrentSamples: [1, (h) =>
    Effect.gen(function*() {
      const { body } = yield* sampler(h, yield* h.session, 0)
      const started = () => h.methods().filter((method) => method === "sample").length
      const first = yield* sample(h, body.sampling_session_id, 9)
      yield* h.retrieve(first.body.request_id)
      const resume = yield* h.engine.pause
      const asked = yield* Effect.forEach([0, 1, 2], (seqId) => sample(h, body.sampling_session_id, seqId))
      yield* Harness.until(Effect.sync(() => started() === 2))
      yield* Effect.yieldNow()
      assert.strictEqual(started(), 2)
      yield* resume
      for (const { body } of asked) assert.strictEqual((yield* h.retrieve(body.request_id)).status, 200)
    })],
  sessions: [1, (h) =>
    Effect.gen(function*() {
      yield* h.session
      assert.strictEqual((yield* h.post("/create_session", { sdk_version: "x" })).status, 429)
    })],
  inlineResultBytes: [100, (h) =>
    Effect.gen(function*() {
      const model = yield* h.model
      const pass = yield* h.forwardBackward(model, 1, [Harness.datum(1, 2, 3, 4)])
      const poll = { request_id: pass.body.request_id, allow_metadata_only: true }
      yield* h.retrieve(pass.body.request_id)
      assert.strictEqual((yield* h.post("/retrieve_future", poll)).body.status, "complete_metadata")
    })],
  resultBytes: [600, (h) =>
    Effect.gen(function*() {
      const model = yield* h.model
      const steps = yield* Effect.forEach([1, 2, 3], (seqId) => h.optimStep(model, seqId))
      for (const { body } of steps) yield* h.retrieve(body.request_id)
      yield* h.retrieve((yield* h.optimStep(model, 4)).body.request_id)
      assert.isAtMost((yield* h.server.stats).keptResultBytes, 600)
    })],
  unreadResultBytes: [1000, (h) =>
    Effect.gen(function*() {
      const model = yield* h.model
      const resume = yield* h.engine.pause
      const steps = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i + 1),
        (seqId) => h.optimStep(model, seqId)
      )
      yield* resume
      yield* Harness.until(Effect.map(h.server.stats, ({ pendingFutures }) => pendingFutures === 0))
      // what was taken in is done; of its results no more is kept than may be
      assert.isAtMost((yield* h.server.stats).keptResultBytes, 2000)
      assert.strictEqual((yield* h.retrieve(steps[0]!.body.request_id)).status, 410)
      const beyond = yield* h.optimStep(model, 21)
      assert.strictEqual(beyond.status, 429)
      assert.include(beyond.body.detail, "wait to be read")
      const { body } = yield* sampler(h, yield* h.session, 0)
      assert.strictEqual((yield* sample(h, body.sampling_session_id, 0)).status, 429)
      assert.strictEqual((yield* h.retrieve(steps[19]!.body.request_id)).status, 200)
    })]
}

describe("limits", () => {
  for (const [name, [value, check]] of Object.entries(limits)) {
    it.scoped(`${name} is held`, () => Effect.flatMap(Harness.make({ limits: { [name]: value } }), check))
  }

  it.scoped("read results make room for new work", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { resultBytes: 300, unreadResultBytes: 1000 } })
      const model = yield* h.model
      for (let seqId = 1; seqId <= 20; seqId++) {
        const step = yield* h.optimStep(model, seqId)
        assert.strictEqual(step.status, 202, `step ${seqId}`)
        assert.strictEqual((yield* h.retrieve(step.body.request_id)).status, 200)
      }
    }))

  it.scoped("JSON may not lie deep, and is not parsed to find out", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth)
      const objects = (depth: number) => "{\"a\":".repeat(depth) + "1" + "}".repeat(depth)
      const status = (body: string) => Effect.map(h.post("/telemetry", body), (answer) => answer.status)
      assert.strictEqual(yield* status(nested(64)), 200)
      assert.strictEqual(yield* status(objects(64)), 200)
      for (const body of [nested(65), objects(65), "[".repeat(1e6), "{\"a\":[".repeat(40) + "]}".repeat(40)]) {
        const { body: { detail }, status } = yield* h.post("/telemetry", body)
        assert.strictEqual(status, 400)
        assert.include(detail, "at most 64")
      }
      // brackets in text and beside one another are not deep
      assert.strictEqual(yield* status(JSON.stringify({ text: "[{\"\\".repeat(1000) })), 200)
      assert.strictEqual(yield* status(`[${"[],{},".repeat(1000)}1]`), 200)
      for (const path of ["/create_session", "/asample", "/forward", "/forward_backward", "/retrieve_future"]) {
        assert.include((yield* h.post(path, nested(65))).body.detail, "at most 64")
      }
    }))

  it.scoped("what clients have the server keep is bounded, wherever it is kept", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const session = model.split(":")[0]!
      const user_metadata = { a: "x".repeat(40_000) }
      const long = "x".repeat(2000)
      const lora = { base_model: "test/tiny", lora_config: { rank: 8 } }
      const saved = yield* h.post("/save_weights", { model_id: model, seq_id: 1, path: "a" })
      const { body: { path } } = yield* h.retrieve(saved.body.request_id)
      const refused: ReadonlyArray<readonly [string, string, object]> = [
        ["POST", "/create_session", { sdk_version: "x", user_metadata }],
        ["POST", "/create_session", { sdk_version: "x", user_metadata: { a: [{ b: "x".repeat(40_000) }] } }],
        ["POST", "/create_session", { sdk_version: "x", display_name: long }],
        ["POST", "/create_session", { sdk_version: "x", project_id: long }],
        ["POST", "/create_model", { session_id: session, model_seq_id: 1, ...lora, user_metadata }],
        ["POST", "/load_weights", { session_id: session, model_seq_id: 2, path, optimizer: false, user_metadata }],
        ["POST", "/save_weights", { model_id: model, seq_id: 2, path: "b", user_metadata }],
        ["POST", "/save_weights_for_sampler", { model_id: model, seq_id: 3, path: "c", user_metadata }],
        ["PUT", `/sessions/${session}/project`, { project_id: long }],
        ["POST", `/sessions/${session}/finish`, { reason: { type: "success" }, detail: long }]
      ]
      for (const [method, target, body] of refused) {
        const answer = yield* h.request(method, target, body)
        assert.strictEqual(answer.status, 400, `${method} ${target}`)
        assert.match(answer.body.detail, /expected at most (1024|32768) characters/)
      }
      assert.deepInclude(yield* h.server.stats, { sessions: 1, runs: 1 })
    }))

  it.scoped("an oversized prompt is refused for its length, before its tokens are looked at", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { body } = yield* sampler(h, yield* h.session, 0)
      const tokens = Array.from({ length: 5000 }, () => 2_000_000)
      const prompt = { chunks: [{ type: "encoded_text", tokens }] }
      for (const sampling_params of [{}, { max_tokens: 3000 }]) {
        const answer = yield* sample(h, body.sampling_session_id, 0, { prompt, sampling_params })
        assert.strictEqual(answer.status, 400)
        assert.match(answer.body.detail, /^prompt: expected fewer than \d+ tokens.*got 5000$/)
      }
      const model = yield* h.model
      const pass = yield* h.post("/forward", {
        model_id: model,
        seq_id: 1,
        forward_input: { data: [{ model_input: prompt, loss_fn_inputs: {} }], loss_fn: "cross_entropy" }
      })
      assert.match(pass.body.detail, /model_input: expected at most \d+ tokens.*got 5000$/)
    }))

  it("a result that would be too large is refused, however small its request", () => {
    const model = { ...RecordingEngine.model, maxContext: 2048 }
    const request = (numSamples: number, topkSampleLogprobs: number) =>
      attempt(() =>
        validateSample({
          prompt: ModelInput.fromTokens([1]),
          numSamples,
          topkSampleLogprobs,
          topkPromptLogprobs: 0,
          promptAltTokensK: 0,
          samplingParams: { temperature: 1, topK: -1, topP: 1 }
        }, model)
      )
    assert.isTrue(Either.isRight(request(1024, 0)))
    assert.isTrue(Either.isRight(request(1, 128)))
    const refusal = Either.getLeft(request(1024, 128))
    assert.include(Option.getOrThrow(refusal).detail, `got ${1024 * 2047 * 129}`)
  })
})
