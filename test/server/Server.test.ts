import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ForwardBackwardCodec from "../../src/protocol/ForwardBackwardCodec.js"
import * as SampleCodec from "../../src/protocol/SampleCodec.js"
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
})
