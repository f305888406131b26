import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import type { SampleRequest } from "../../../src/engine/Engine.js"
import * as SampleCodec from "../../../src/protocol/SampleCodec.js"
import * as Harness from "../fixtures/harness.js"

const prompt = { chunks: [{ type: "encoded_text", tokens: [1, 2] }, { type: "encoded_text", tokens: [3] }] }

const base = (h: Harness.Harness, seqId = 0) =>
  Effect.gen(function*() {
    const session = yield* h.session
    const created = yield* h.post("/create_sampling_session", {
      session_id: session,
      sampling_session_seq_id: seqId,
      base_model: "test/tiny"
    })
    return created.body.sampling_session_id as string
  })

const ask = (h: Harness.Harness, sampler: string, seqId: number | string, more: object = {}) =>
  h.post(
    "/asample",
    JSON.stringify({
      sampling_session_id: sampler,
      seq_id: "SEQ",
      prompt,
      sampling_params: { max_tokens: 2 },
      ...more
    }).replace("\"SEQ\"", String(seqId))
  )

/** The request that reached the engine last. */
const asked = (h: Harness.Harness): SampleRequest => {
  const call = h.engine.calls.findLast(({ method }) => method === "sample")!
  return call.detail as SampleRequest // what the recording engine puts there
}

const tokensOf = (h: Harness.Harness, requestId: string) =>
  Effect.map(h.retrieve(requestId), ({ body }) => body.sequences[0].tokens as ReadonlyArray<number>)

/** A sampler of the run as it is now, without a name. */
const freeze = (h: Harness.Harness, model: string, seqId: number, sampler: number) =>
  Effect.gen(function*() {
    const save = yield* h.post("/save_weights_for_sampler", {
      model_id: model,
      seq_id: seqId,
      sampling_session_seq_id: sampler
    })
    return (yield* h.retrieve(save.body.request_id)).body.sampling_session_id as string
  })

describe("Samplers", () => {
  it.scoped("stay as they are while training goes on, and never touch the trainer", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      yield* h.forwardBackward(model, 1, [Harness.datum(3)])
      yield* h.optimStep(model, 2)
      const old = yield* freeze(h, model, 3, 0)
      yield* h.forwardBackward(model, 4, [Harness.datum(4)])
      yield* h.optimStep(model, 5)
      const young = yield* freeze(h, model, 6, 1)
      const first = yield* ask(h, old, 0)
      assert.deepStrictEqual(yield* tokensOf(h, first.body.request_id), [3, 3])
      assert.deepStrictEqual(yield* tokensOf(h, (yield* ask(h, young, 0)).body.request_id), [7, 7])
      const step = yield* h.optimStep(model, 7)
      yield* h.retrieve(step.body.request_id)
      assert.strictEqual(h.engine.runs.get(model)!.weight, 7)
    }))

  it.scoped("make room and come back with the same weights", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { samplers: 2 } })
      const model = yield* h.model
      const samplers: Array<string> = []
      for (let i = 0; i < 5; i++) {
        yield* h.forwardBackward(model, 3 * i + 1, [Harness.datum(1)])
        yield* h.optimStep(model, 3 * i + 2)
        samplers.push(yield* freeze(h, model, 3 * i + 3, i))
        assert.isAtMost(h.engine.samplers.size, 2)
      }
      for (const [i, sampler] of samplers.entries()) {
        const answer = yield* ask(h, sampler, 0)
        assert.deepStrictEqual(yield* tokensOf(h, answer.body.request_id), [i + 1, i + 1])
        assert.isAtMost(h.engine.samplers.size, 3)
      }
    }))

  it.scoped("are made of checkpoints by path, and do not change when the name is used again", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { samplers: 1 } })
      const model = yield* h.model
      yield* h.forwardBackward(model, 1, [Harness.datum(5)])
      yield* h.optimStep(model, 2)
      const save = yield* h.post("/save_weights_for_sampler", { model_id: model, seq_id: 3, path: "best" })
      const { path } = (yield* h.retrieve(save.body.request_id)).body
      assert.strictEqual(path, `tinker://${model}/sampler_weights/best`)
      const session = model.split(":")[0]!
      const create = (more: object) =>
        h.post("/create_sampling_session", { session_id: session, sampling_session_seq_id: 7, ...more })
      const created = yield* create({ model_path: path })
      assert.strictEqual(created.body.sampling_session_id, `${session}:sample:7`)
      assert.strictEqual((yield* create({ model_path: path })).status, 200)
      assert.strictEqual((yield* create({ base_model: "test/tiny" })).status, 409)
      assert.deepStrictEqual((yield* h.get(`/samplers/${encodeURIComponent(`${session}:sample:7`)}`)).body, {
        sampler_id: `${session}:sample:7`,
        base_model: "test/tiny",
        model_path: path
      })
      const answer = yield* ask(h, created.body.sampling_session_id, 0)
      assert.deepStrictEqual(yield* tokensOf(h, answer.body.request_id), [5, 5])
      yield* h.request("DELETE", `/training_runs/${model}/checkpoints/sampler_weights/best`)
      // another sampler takes its place in the engine, so that it would have to be read again
      yield* h.retrieve((yield* ask(h, yield* base(h), 0)).body.request_id)
      const gone = yield* ask(h, created.body.sampling_session_id, 1)
      const failed = yield* h.retrieve(gone.body.request_id)
      assert.strictEqual(failed.body.category, "user")
      assert.include(failed.body.error, "deleted")
    }))

  it.scoped("refuse to be made of what is not there", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const session = yield* h.session
      const create = (more: object) =>
        Effect.map(
          h.post("/create_sampling_session", { session_id: session, sampling_session_seq_id: 0, ...more }),
          ({ body, status }) => [status, body.detail as string] as const
        )
      assert.strictEqual((yield* create({}))[0], 400)
      assert.strictEqual((yield* create({ model_path: "tinker://x/sampler_weights/y" }))[0], 404)
      assert.strictEqual((yield* create({ model_path: "x" }))[0], 400)
      const [status, detail] = yield* create({ base_model: "other/model" })
      assert.strictEqual(status, 400)
      assert.include(detail, "test/tiny")
      assert.notInclude(detail, "other/model")
    }))

  it.scoped("answer a repeated request with the same ids, however long its number", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      const once = yield* ask(h, sampler, "224978767000000001", { num_samples: 3 })
      const again = yield* ask(h, sampler, "224978767000000001", { num_samples: 3 })
      assert.deepStrictEqual(again.body, once.body)
      assert.strictEqual(once.body.sample_sequence_ids.length, 3)
      assert.strictEqual(new Set(once.body.sample_sequence_ids).size, 3)
      const neighbour = yield* ask(h, sampler, "224978767000000002", { num_samples: 3 })
      assert.notStrictEqual(neighbour.body.request_id, once.body.request_id)
      assert.strictEqual((yield* ask(h, sampler, "224978767000000001")).status, 409)
      yield* h.retrieve(once.body.request_id)
      yield* h.retrieve(neighbour.body.request_id)
      assert.strictEqual(h.methods().filter((method) => method === "sample").length, 2)
    }))

  it.scoped("tell absent stops, empty stops, one stop and many apart", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      let seqId = 0
      const stops = (stop: unknown) =>
        Effect.gen(function*() {
          const answer = yield* ask(h, sampler, seqId++, { sampling_params: { max_tokens: 1, stop } })
          assert.strictEqual(answer.status, 202)
          yield* h.retrieve(answer.body.request_id)
          const { stopStrings, stopTokens } = asked(h)
          return { stopStrings, stopTokens }
        })
      assert.deepStrictEqual(yield* stops(undefined), { stopStrings: undefined, stopTokens: undefined })
      assert.deepStrictEqual(yield* stops(null), { stopStrings: undefined, stopTokens: undefined })
      assert.deepStrictEqual(yield* stops([]), { stopStrings: undefined, stopTokens: [] })
      assert.deepStrictEqual(yield* stops("x"), { stopStrings: ["x"], stopTokens: undefined })
      assert.deepStrictEqual(yield* stops(["x", "y"]), { stopStrings: ["x", "y"], stopTokens: undefined })
      assert.deepStrictEqual(yield* stops([7, 9]), { stopStrings: undefined, stopTokens: [7, 9] })
    }))

  it.scoped("pass on all settings, and fold seeds of any size", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      const request = JSON.stringify({
        sampling_session_id: sampler,
        seq_id: 0,
        num_samples: 2,
        prompt,
        sampling_params: { max_tokens: 4, temperature: 0.5, top_k: 3, top_p: 0.9, seed: "SEED" },
        prompt_logprobs: true,
        topk_prompt_logprobs: 2,
        topk_sample_logprobs: 1,
        record_stability_info: true,
        something_new: { a: 1 },
        type: "sample"
      }).replace("\"SEED\"", "9223372036854775813")
      const answer = yield* h.post("/asample", request)
      assert.strictEqual(answer.status, 202)
      yield* h.retrieve(answer.body.request_id)
      assert.deepStrictEqual(asked(h), {
        prompt: Int32Array.of(1, 2, 3),
        numSamples: 2,
        maxTokens: 4,
        temperature: 0.5,
        topK: 3,
        topP: 0.9,
        seed: 6n,
        promptLogprobs: true,
        topkPromptLogprobs: 2,
        topkSampleLogprobs: 1
      })
    }))

  it.scoped("hide the logprobs before the last n prompt tokens", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      const answer = yield* ask(h, sampler, 0, { prompt_logprobs: true, prompt_logprobs_last_n: 1 })
      const { bytes } = yield* h.retrieve(answer.body.request_id, { accept: "application/x-protobuf" })
      const response = yield* SampleCodec.decodeResponse(bytes)
      assert.deepStrictEqual([...response.promptLogprobs!], [Number.NaN, Number.NaN, -2])
    }))

  it.scoped("tell at once which of a sampler's requests are done", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      const completed = (prev_cursor: number, more: object = {}, target: object = {}) =>
        h.post("/retrieve_futures", {
          target: { type: "sampling_session", sampling_session_id: sampler, cloned_sampler_id: 0, ...target },
          prev_cursor,
          ...more
        })
      const idsOf = (body: { completions: ReadonlyArray<{ request_id: string }> }) =>
        body.completions.map(({ request_id }) => request_id)
      assert.deepStrictEqual((yield* completed(0, { timeout: 0 })).body, { completions: [], cursor: 0 })
      const held = yield* Effect.fork(completed(0))
      yield* h.held(1)
      const first = yield* ask(h, sampler, 0)
      const { body } = yield* Fiber.join(held)
      assert.deepStrictEqual(idsOf(body), [first.body.request_id])
      assert.strictEqual(body.completions[0].state, "finished")
      assert.isAbove(body.completions[0].response_payload_uncompressed_size, 0)
      // another sampler's and a copy's are not told, and what was told is not told again
      const other = yield* ask(h, yield* base(h, 1), 0)
      yield* h.retrieve(other.body.request_id)
      const copied = yield* ask(h, sampler, 2_000_000_003)
      yield* h.retrieve(copied.body.request_id)
      const after = yield* completed(body.cursor, { timeout: 0 })
      assert.deepStrictEqual(after.body.completions, [])
      assert.isAbove(after.body.cursor, body.cursor)
      const ofCopy = yield* completed(0, {}, { cloned_sampler_id: 2 })
      assert.deepStrictEqual(idsOf(ofCopy.body), [copied.body.request_id])
      // an answer that was lost is asked for again
      assert.deepStrictEqual(idsOf((yield* completed(0)).body), [first.body.request_id])
      const waiting = yield* Effect.fork(completed(after.body.cursor))
      yield* h.held(1)
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual((yield* Fiber.join(waiting)).body.completions, [])
      assert.strictEqual((yield* completed(0, {}, { sampling_session_id: "none" })).status, 404)
    }))

  it.scoped("can be asked by base model or path without a session", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const answer = yield* h.post("/asample", { base_model: "test/tiny", prompt, sampling_params: {} })
      assert.strictEqual(answer.status, 202)
      assert.strictEqual((yield* tokensOf(h, answer.body.request_id)).length, 61)
    }))

  it.scoped("stop a request that is cancelled", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      yield* h.engine.pause
      const answer = yield* ask(h, sampler, 0)
      yield* Harness.until(Effect.sync(() => h.methods().length > 0))
      assert.strictEqual((yield* h.post("/cancel_future", { request_id: answer.body.request_id })).status, 204)
      const failed = yield* h.retrieve(answer.body.request_id)
      assert.include(failed.body.error, "cancelled")
      assert.strictEqual((yield* h.post("/cancel_future", { request_id: answer.body.request_id })).status, 204)
      assert.strictEqual((yield* h.post("/cancel_future", { request_id: "nobody" })).status, 404)
      assert.strictEqual((yield* h.server.stats).sampleRequests, 0)
    }))

  it.scoped("push back when too many wait, and say so to those who poll", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { queuedSamples: 4, concurrentSamples: 2 } })
      const sampler = yield* base(h)
      const resume = yield* h.engine.pause
      const waiting = yield* Effect.forEach([0, 1, 2, 3], (seqId) => ask(h, sampler, seqId))
      const refused = yield* ask(h, sampler, 4)
      assert.strictEqual(refused.status, 429)
      assert.strictEqual(refused.headers.get("retry-after"), "1")
      yield* resume
      for (const { body } of waiting) assert.strictEqual((yield* h.retrieve(body.request_id)).status, 200)
      assert.strictEqual((yield* ask(h, sampler, 4)).status, 202)
    }))

  it.scoped("serve a thousand requests at once, each with its own answer", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      const answers = yield* Effect.forEach(
        Array.from({ length: 1000 }, (_, i) => i),
        (i) =>
          Effect.gen(function*() {
            const { body } = yield* ask(h, sampler, i, { num_samples: 1 + (i % 4) })
            const { body: result } = yield* h.retrieve(body.request_id)
            return result.sequences.length === 1 + (i % 4) && body.sample_sequence_ids.length === 1 + (i % 4)
          }),
        { concurrency: "unbounded" }
      )
      assert.isTrue(answers.every((good) => good))
      assert.deepInclude(yield* h.server.stats, { sampleRequests: 0, pendingFutures: 0, heldPolls: 0 })
    }))

  it.scoped("refuse what cannot be sampled, naming the field", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      const text = (tokens: ReadonlyArray<number>) => ({ chunks: [{ type: "encoded_text", tokens }] })
      const cases: ReadonlyArray<readonly [object, string]> = [
        [{ prompt: text([]) }, "prompt"],
        [{ prompt: { chunks: [] } }, "prompt"],
        [{ prompt: text([512]) }, "prompt[0]"],
        [{ prompt: text([1, -1]) }, "prompt[1]"],
        [{ prompt: { chunks: [{ type: "image", data: "AAAA", format: "png" }] } }, "prompt.chunks[0]"],
        [{ prompt: text(Array.from({ length: 64 }, () => 1)), sampling_params: {} }, "prompt"],
        [{ prompt: text(Array.from({ length: 60 }, () => 1)), sampling_params: { max_tokens: 5 } }, "60 + 5 > 64"],
        [{ sampling_params: { max_tokens: 0 } }, "max_tokens"],
        [{ sampling_params: { max_tokens: 1, temperature: -1 } }, "temperature"],
        [{ sampling_params: { max_tokens: 1, top_p: 0 } }, "top_p"],
        [{ sampling_params: { max_tokens: 1, top_k: -2 } }, "top_k"],
        [{ sampling_params: { max_tokens: 1, stop: [""] } }, "stop[0]"],
        [{ num_samples: 0 }, "num_samples"],
        [{ topk_prompt_logprobs: 1000 }, "topk_prompt_logprobs"],
        [{ topk_sample_logprobs: -1 }, "topk_sample_logprobs"],
        [{ prompt_alt_tokens_k: 1 }, "prompt_alt_tokens_k"],
        [{ prompt_logprobs_last_n: 1 }, "prompt_logprobs_last_n"],
        [{ target_prompt_logprobs: { data: [1, 1], dtype: "int64", shape: [2, 1] } }, "target_prompt_logprobs"],
        [{ seq_id: null }, "seq_id"]
      ]
      for (const [more, field] of cases) {
        const answer = yield* ask(h, sampler, 0, more)
        assert.strictEqual(answer.status, 400, JSON.stringify(more))
        assert.include(answer.body.detail, field)
      }
      assert.notInclude(h.methods(), "sample")
      const unknown = yield* ask(h, "nobody:sample:0", 0)
      assert.strictEqual(unknown.status, 404)
    }))

  it.scoped("number the clients that join", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      const join = Effect.map(
        h.post("/join_sampling_session", { sampling_session_id: sampler, type: "join_sampling_session" }),
        ({ body }) => body.client_counter as number
      )
      assert.deepStrictEqual([yield* join, yield* join], [1, 2])
      assert.strictEqual((yield* h.post("/join_sampling_session", { sampling_session_id: "x" })).status, 404)
    }))

  it.scoped("are loaded once by many who ask at the same time, and not at all after a failure", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const sampler = yield* base(h)
      h.engine.failWhen((method) => method === "createSampler")
      const failed = yield* h.retrieve((yield* ask(h, sampler, 0)).body.request_id)
      assert.strictEqual(failed.body.category, "server")
      h.engine.failWhen(undefined)
      const resume = yield* h.engine.pause
      const waiting = yield* Effect.forEach([1, 2, 3], (seqId) => ask(h, sampler, seqId))
      const polls = yield* Effect.forkAll(waiting.map(({ body }) => h.retrieve(body.request_id)))
      yield* h.held(3)
      yield* resume
      for (const { body } of yield* Fiber.join(polls)) assert.strictEqual(body.sequences.length, 1)
      assert.strictEqual(h.methods().filter((method) => method === "createSampler").length, 2)
    }))
})
