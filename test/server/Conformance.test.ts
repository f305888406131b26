/** What a training program may rely on, over a real engine. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Datum from "../../src/protocol/Datum.js"
import * as ForwardBackwardCodec from "../../src/protocol/ForwardBackwardCodec.js"
import * as SampleCodec from "../../src/protocol/SampleCodec.js"
import * as TensorData from "../../src/protocol/TensorData.js"
import * as Harness from "./fixtures/harness.js"
import * as TinyModel from "./fixtures/tinyModel.js"

const protobuf = { accept: ForwardBackwardCodec.mediaType }

/** A harness over the real engine, with what a training loop does in short form. */
const make = (options: Parameters<typeof Harness.make>[0] = {}) =>
  Effect.gen(function*() {
    const h = yield* Harness.make({ ...options, ...(yield* TinyModel.engine) })
    const counters = new Map<string, number>()
    const next = (model: string) => {
      const seqId = (counters.get(model) ?? 0) + 1
      counters.set(model, seqId)
      return seqId
    }
    const session = yield* h.session
    let models = 0
    const createModel = Effect.gen(function*() {
      const created = yield* h.post("/create_model", {
        session_id: session,
        model_seq_id: models++,
        base_model: "test/tiny",
        lora_config: { rank: 4, seed: 11 }
      })
      yield* h.retrieve(created.body.request_id)
      return created.body.model_id as string
    })
    const pass = (model: string, data: ReadonlyArray<Datum.Datum>, forwardOnly = false) =>
      Effect.gen(function*() {
        const answer = yield* h.forwardBackward(model, next(model), data, { forwardOnly })
        assert.strictEqual(answer.status, 202, answer.body?.detail)
        const { bytes } = yield* h.retrieve(answer.body.request_id, protobuf)
        return yield* ForwardBackwardCodec.decodeOutput(bytes)
      })
    const step = (model: string, adam: object = {}) =>
      Effect.gen(function*() {
        const answer = yield* h.post("/optim_step", {
          model_id: model,
          seq_id: next(model),
          adam_params: { learning_rate: 0.01, eps: 1e-8, ...adam }
        })
        return (yield* h.retrieve(answer.body.request_id)).body.metrics["unclipped_grad_l2:mean"] as number
      })
    const operate = (model: string, endpoint: string, body: object) =>
      Effect.gen(function*() {
        const answer = yield* h.post(`/${endpoint}`, { model_id: model, seq_id: next(model), ...body })
        return (yield* h.retrieve(answer.body.request_id)).body
      })
    let samplers = 100
    const sampler = (model: string) =>
      Effect.map(
        operate(model, "save_weights_for_sampler", { sampling_session_seq_id: samplers++ }),
        (body) => body.sampling_session_id as string
      )
    let requests = 0
    const sample = (target: object, tokens: ReadonlyArray<number>, params: object, more: object = {}) =>
      Effect.gen(function*() {
        const answer = yield* h.post("/asample", {
          ...target,
          seq_id: requests++,
          prompt: { chunks: [{ type: "encoded_text", tokens }] },
          sampling_params: params,
          ...more
        })
        assert.strictEqual(answer.status, 202, answer.body?.detail)
        return yield* SampleCodec.decodeResponse((yield* h.retrieve(answer.body.request_id, protobuf)).bytes)
      })
    return { h, session, createModel, pass, step, operate, sampler, sample }
  })

const text = (...tokens: ReadonlyArray<number>) => Datum.fromCompletion(tokens.slice(0, 2), tokens.slice(2))
const hello = text(8, 5, 12, 12, 15)
const world = text(23, 15, 18, 12, 4)

const logprobsOf = (
  output: { readonly lossFnOutputs: ReadonlyArray<Readonly<Record<string, TensorData.TensorData>>> }
) => output.lossFnOutputs.map((fields) => TensorData.toArray(fields["logprobs"]!))

const close = (actual: number, expected: number, tolerance = 1e-5) =>
  assert.isAtMost(
    Math.abs(actual - expected),
    tolerance * Math.max(1, Math.abs(expected)),
    `${actual} is not ${expected}`
  )

describe("conformance", () => {
  it.scoped("fresh LoRA equals base", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const model = yield* c.createModel
      const fresh = yield* c.sampler(model)
      const ask = (target: object) =>
        c.sample(target, [1, 2, 3, 4], { max_tokens: 8, seed: 5, stop: [] }, { prompt_logprobs: true })
      const one = yield* ask({ sampling_session_id: fresh })
      const base = yield* ask({ base_model: "test/tiny" })
      assert.deepStrictEqual(one.sequences, base.sequences)
      assert.deepStrictEqual(one.promptLogprobs, base.promptLogprobs)
    }))

  it.scoped("forward_backward twice gives twice the gradient; forward gives none", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const [one, two, three] = [yield* c.createModel, yield* c.createModel, yield* c.createModel]
      yield* c.pass(one, [hello])
      const norm = yield* c.step(one)
      assert.isAbove(norm, 0)
      yield* c.pass(two, [hello])
      yield* c.pass(two, [world], true)
      yield* c.pass(two, [hello])
      close(yield* c.step(two), 2 * norm)
      yield* c.pass(three, [hello], true)
      assert.strictEqual(yield* c.step(three), 0)
    }))

  it.scoped("weights x2 gives twice the gradient and twice the loss", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const [one, two] = [yield* c.createModel, yield* c.createModel]
      const weights = hello.lossFnInputs["weights"]!
      const doubled = {
        ...hello,
        lossFnInputs: { ...hello.lossFnInputs, weights: TensorData.make(TensorData.toArray(weights).map((w) => 2 * w)) }
      }
      const a = yield* c.pass(one, [hello])
      const b = yield* c.pass(two, [doubled])
      close(b.metrics["loss:sum"]!, 2 * a.metrics["loss:sum"]!)
      assert.deepStrictEqual(logprobsOf(a), logprobsOf(b))
      close(yield* c.step(two), 2 * (yield* c.step(one)))
    }))

  it.scoped("a batch is the sum of its parts, and the loss is minus the weighted logprobs", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const [one, two] = [yield* c.createModel, yield* c.createModel]
      const whole = yield* c.pass(one, [hello, world])
      const first = yield* c.pass(two, [hello])
      const second = yield* c.pass(two, [world])
      close(whole.metrics["loss:sum"]!, first.metrics["loss:sum"]! + second.metrics["loss:sum"]!)
      const weights = TensorData.toArray(hello.lossFnInputs["weights"]!)
      const loss = logprobsOf(first)[0]!.reduce((sum, logprob, i) => sum - weights[i]! * logprob, 0)
      close(first.metrics["loss:sum"]!, loss)
      close(yield* c.step(one), yield* c.step(two))
    }))

  it.scoped("clip bounds the step and tells the norm before it", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const [one, two] = [yield* c.createModel, yield* c.createModel]
      // with epsilon far above the moments a step is proportional to its gradient
      const adam = { eps: 1e6, learning_rate: 1e6 }
      yield* c.pass(one, [hello])
      const norm = yield* c.step(one, adam)
      yield* c.pass(two, [hello])
      close(yield* c.step(two, { ...adam, grad_clip_norm: norm / 1000 }), norm)
      const at = (model: string) => Effect.map(c.pass(model, [hello], true), (_) => _.metrics["loss:sum"]!)
      const fresh = yield* at(yield* c.createModel)
      const moved = Math.abs((yield* at(one)) - fresh)
      assert.isBelow(Math.abs((yield* at(two)) - fresh), moved / 100)
    }))

  it.scoped("training learns, and an old sampler leaves the trainer alone", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const model = yield* c.createModel
      const old = yield* c.sampler(model)
      const losses: Array<number> = []
      for (let i = 0; i < 80; i++) {
        losses.push((yield* c.pass(model, [hello, world])).metrics["loss:sum"]!)
        yield* c.step(model, { learning_rate: 0.01 })
      }
      assert.isBelow(losses.at(-1)!, losses[0]! / 4)
      const before = yield* c.pass(model, [hello], true)
      const young = yield* c.sampler(model)
      const ask = (id: string) =>
        c.sample({ sampling_session_id: id }, [8, 5], { max_tokens: 3, temperature: 0 }, { prompt_logprobs: true })
      const oldAnswer = yield* ask(old)
      const youngAnswer = yield* ask(young)
      assert.deepStrictEqual([...youngAnswer.sequences[0]!.tokens], [12, 12, 15])
      assert.notDeepEqual(oldAnswer.sequences, youngAnswer.sequences)
      assert.deepStrictEqual(logprobsOf(yield* c.pass(model, [hello], true)), logprobsOf(before))
      // what the trainer says of the completion is what the sampler said when it drew it
      const [trainer] = logprobsOf(before)
      youngAnswer.sequences[0]!.logprobs!.forEach((logprob, i) => close(logprob, trainer![i + 1]!))
    }))

  it.scoped("prompt logprobs: as many as tokens, the first null, the rest what forward says", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const model = yield* c.createModel
      const tokens = [3, 1, 20, 9, 14]
      const { promptLogprobs, topkPromptLogprobs } = yield* c.sample(
        { base_model: "test/tiny" },
        tokens,
        { max_tokens: 1 },
        { prompt_logprobs: true, topk_prompt_logprobs: 2 }
      )
      assert.strictEqual(promptLogprobs!.length, 5)
      assert.isNaN(promptLogprobs![0])
      const [forward] = logprobsOf(
        yield* c.pass(model, [Datum.fromCompletion(tokens.slice(0, 1), tokens.slice(1))], true)
      )
      forward!.forEach((logprob, i) => close(promptLogprobs![i + 1]!, logprob))
      assert.deepStrictEqual([topkPromptLogprobs!.length, topkPromptLogprobs!.k], [5, 2])
      assert.deepStrictEqual(Array.from(topkPromptLogprobs!.logprobs.slice(0, 2)), [-99999, -99999])
    }))

  it.scoped("bare-string stop: generation ends with the token that completes it", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const params = { max_tokens: 40, seed: 3 }
      const free = yield* c.sample({ base_model: "test/tiny" }, [1], { ...params, stop: [] })
      const tokens = [...free.sequences[0]!.tokens]
      assert.strictEqual(free.sequences[0]!.stopReason, "length")
      const at = tokens.findIndex((token, i) => token > 0 && i > 3 && tokens[i - 1]! > 0)
      const stop = tokens.slice(at - 1, at + 1).map((token) => String.fromCharCode(96 + token)).join("")
      const stopped = yield* c.sample({ base_model: "test/tiny" }, [1], { ...params, stop })
      const first = tokens.findIndex((_, i) =>
        tokens.slice(0, i + 1).map((token) => token === 0 ? "<end>" : String.fromCharCode(96 + token)).join("")
          .includes(stop)
      )
      const end = tokens.indexOf(0)
      assert.deepStrictEqual(
        [...stopped.sequences[0]!.tokens],
        tokens.slice(0, 1 + (end >= 0 && end < first ? end : first))
      )
      assert.strictEqual(stopped.sequences[0]!.stopReason, "stop")
    }))

  it.scoped("seeds: the same one gives the same samples, all different from one another", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const ask = (seed: number) =>
        Effect.map(
          c.sample({ base_model: "test/tiny" }, [1, 2], { max_tokens: 12, seed, stop: [] }, { num_samples: 3 }),
          ({ sequences }) => sequences.map(({ tokens }) => tokens.join())
        )
      const once = yield* ask(4)
      assert.deepStrictEqual(yield* ask(4), once)
      assert.strictEqual(new Set(once).size, 3)
      assert.notDeepEqual(yield* ask(5), once)
    }))

  it.scoped("sparse targets are the dense ones with their zeros left out", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const [one, two] = [yield* c.createModel, yield* c.createModel]
      const rows = [[1, 2, 0, 0, 0], [0, 0, 0, 0, 9], [0, 0, 0, 0, 0], [4, 0, 0, 0, 0]]
      const weights = rows.map((row) => row.map((target) => target === 0 ? 0 : 0.5 + target / 10))
      const of = (sparse: boolean) => {
        const tensor = (values: ReadonlyArray<ReadonlyArray<number>>, dtype: TensorData.TensorDtype) => {
          const dense = TensorData.make(values, { dtype })
          return sparse ? TensorData.toSparse(dense) : dense
        }
        return Datum.make({
          modelInput: [5, 6, 7, 8],
          lossFnInputs: { target_tokens: tensor(rows, "int64"), weights: tensor(weights, "float32") }
        })
      }
      assert.isTrue(TensorData.isSparse(of(true).lossFnInputs["weights"]!))
      const dense = yield* c.pass(one, [of(false)])
      const sparse = yield* c.pass(two, [of(true)])
      assert.deepStrictEqual(sparse, dense)
      assert.deepStrictEqual(sparse.lossFnOutputs[0]!["logprobs"]!.shape, [4, 5])
      assert.strictEqual(yield* c.step(two), yield* c.step(one))
    }))

  it.scoped("1,300 datums in chunks, the first sent last, are one batch", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const [one, two] = [yield* c.createModel, yield* c.createModel]
      const data = Array.from({ length: 1300 }, (_, i) => text(1 + i % 26, 1 + i % 25, 1 + i % 24))
      const chunks = [data.slice(0, 500), data.slice(500, 1000), data.slice(1000)]
      let sum = 0
      for (const chunk of chunks) sum += (yield* c.pass(one, chunk)).metrics["loss:sum"]!
      const second = yield* c.h.forwardBackward(two, 2, chunks[1]!)
      const third = yield* c.h.forwardBackward(two, 3, chunks[2]!)
      const step = yield* c.h.optimStep(two, 4, 0.01)
      const first = yield* c.h.forwardBackward(two, 1, chunks[0]!)
      let total = 0
      let outputs = 0
      for (const { body } of [first, second, third]) {
        const output = yield* ForwardBackwardCodec.decodeOutput((yield* c.h.retrieve(body.request_id, protobuf)).bytes)
        total += output.metrics["loss:sum"]!
        outputs += output.lossFnOutputs.length
      }
      assert.strictEqual(outputs, 1300)
      assert.strictEqual(total, sum)
      const norm = (yield* c.h.retrieve(step.body.request_id)).body.metrics["unclipped_grad_l2:mean"]
      assert.strictEqual(norm, yield* c.step(one))
    }))

  it.scoped("save_state twice under one name is refused, and the first stays", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const model = yield* c.createModel
      const { path } = yield* c.operate(model, "save_weights", { path: "a" })
      yield* c.pass(model, [hello])
      yield* c.step(model)
      const moved = yield* c.pass(model, [hello], true)
      const again = yield* c.operate(model, "save_weights", { path: "a" })
      assert.strictEqual(again.category, "user")
      yield* c.operate(model, "load_weights", { path, optimizer: true })
      const back = yield* c.pass(model, [hello], true)
      assert.isBelow(moved.metrics["loss:sum"]!, back.metrics["loss:sum"]!)
    }))

  it.scoped("restart between save and load: the same losses and the same next step, bit for bit", () =>
    Effect.gen(function*() {
      const dataDir = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
      const before = yield* Effect.scoped(Effect.gen(function*() {
        const c = yield* make({ dataDir })
        const model = yield* c.createModel
        yield* c.pass(model, [hello])
        yield* c.step(model)
        const { path } = yield* c.operate(model, "save_weights", { path: "a" })
        const output = yield* c.pass(model, [world])
        const norm = yield* c.step(model)
        return { path: path as string, output, norm, after: yield* c.pass(model, [hello], true) }
      }))
      const c = yield* make({ dataDir })
      const load = yield* c.h.post("/load_weights", {
        session_id: c.session,
        model_seq_id: 0,
        path: before.path,
        optimizer: true
      })
      const model = (yield* c.h.retrieve(load.body.request_id)).body.model_id as string
      const output = yield* c.pass(model, [world])
      assert.deepStrictEqual(output.lossFnOutputs, before.output.lossFnOutputs)
      assert.strictEqual(yield* c.step(model), before.norm)
      assert.deepStrictEqual((yield* c.pass(model, [hello], true)).lossFnOutputs, before.after.lossFnOutputs)
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("policy losses need their inputs, and use them", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const model = yield* c.createModel
      const rollout = { prompt: [8, 5], completion: [12, 12], logprobs: [-3, -3], advantages: 1 }
      const datum = Datum.fromRollout(rollout)
      const masked = Datum.fromRollout({ ...rollout, sequenceRatioMask: true })
      for (const lossFn of ["importance_sampling", "ppo", "cispo", "dro", "gspo"]) {
        const data = [lossFn === "gspo" ? masked : datum]
        const answer = yield* c.h.forwardBackward(model, 0, data, { lossFn })
        const output = yield* ForwardBackwardCodec.decodeOutput(
          (yield* c.h.retrieve(answer.body.request_id, protobuf)).bytes
        )
        assert.isTrue(Number.isFinite(output.metrics["loss:sum"]), lossFn)
        const missing = yield* c.h.forwardBackward(model, 0, [hello], { lossFn })
        assert.strictEqual(missing.status, 400)
      }
      const unknown = yield* c.h.forwardBackward(model, 0, [datum], { lossFn: "rienforce" })
      assert.include(unknown.body.detail, "cross_entropy")
      const secret = yield* c.h.forwardBackward(model, 0, [datum], { lossFn: "stable_reinforce" })
      assert.strictEqual(secret.status, 400)
      assert.include(secret.body.detail, "importance_sampling, ppo or cispo")
      assert.include(secret.body.detail, "--experimental-losses")
    }))

  it.scoped("the stand-in for stable_reinforce is dro, where it was asked for", () =>
    Effect.gen(function*() {
      const c = yield* make({ experimentalLosses: true })
      const model = yield* c.createModel
      const data = [Datum.fromRollout({ prompt: [8, 5], completion: [12, 12], logprobs: [-3, -3], advantages: 1 })]
      const lossOf = (lossFn: string, lossFnConfig: Record<string, number>) =>
        Effect.gen(function*() {
          const answer = yield* c.h.forwardBackward(model, 0, data, { lossFn, lossFnConfig })
          const { bytes } = yield* c.h.retrieve(answer.body.request_id, protobuf)
          const { lossFnOutputType, metrics } = yield* ForwardBackwardCodec.decodeOutput(bytes)
          return { lossFnOutputType, loss: metrics["loss:sum"] }
        })
      for (const kl of [0.01, 0.5]) {
        const { loss, lossFnOutputType } = yield* lossOf("stable_reinforce", kl === 0.01 ? {} : { kl_coeff: kl })
        assert.strictEqual(lossFnOutputType, "StableReinforceLossReturn")
        assert.strictEqual(loss, (yield* lossOf("dro", { beta: kl })).loss)
      }
      const bad = yield* c.h.forwardBackward(model, 0, data, {
        lossFn: "stable_reinforce",
        lossFnConfig: { beta: 1 }
      })
      assert.include(bad.body.detail, "kl_coeff")
    }))

  it.scoped("a batch that is bad anywhere adds nothing", () =>
    Effect.gen(function*() {
      const c = yield* make()
      const model = yield* c.createModel
      const inputs = hello.lossFnInputs
      const target = inputs["target_tokens"]!
      const bad: ReadonlyArray<readonly [Datum.Datum, string]> = [
        [
          { ...hello, modelInput: { chunks: [{ type: "encoded_text", tokens: [1, 2, 27, 3] }] } },
          "data[1].model_input[2]"
        ],
        [{ ...hello, modelInput: { chunks: [] } }, "data[1].model_input"],
        [{ ...hello, lossFnInputs: { target_tokens: target } }, "data[1].loss_fn_inputs.weights"],
        [{ ...hello, lossFnInputs: { ...inputs, extra: target } }, "data[1].loss_fn_inputs"],
        [{ ...hello, lossFnInputs: { ...inputs, weights: TensorData.make([1, 1]) } }, "data[1].loss_fn_inputs.weights"],
        [
          { ...hello, lossFnInputs: { ...inputs, weights: TensorData.make([1, Number.NaN, 1, 1]) } },
          "data[1].loss_fn_inputs.weights[1]"
        ],
        [
          { ...hello, lossFnInputs: { ...inputs, target_tokens: TensorData.make([1, 2, 3, -4], { dtype: "int64" }) } },
          "data[1].loss_fn_inputs.target_tokens[3]"
        ],
        [{ ...hello, lossFnInputs: { ...inputs, target_tokens: TensorData.make([1, 2, 3, 4]) } }, "int64"],
        ...[[1, 2, 3], [1, 2, 3, 4, 0]].map((targets): readonly [Datum.Datum, string] => [
          {
            ...hello,
            lossFnInputs: {
              target_tokens: TensorData.make(targets, { dtype: "int64" }),
              weights: TensorData.make(targets.map(() => 1))
            }
          },
          "data[1].loss_fn_inputs.target_tokens: expected shape [4]"
        ])
      ]
      for (const [datum, field] of bad) {
        const answer = yield* c.h.forwardBackward(model, 0, [hello, datum])
        assert.strictEqual(answer.status, 400, field)
        assert.include(answer.body.detail, field)
      }
      const step = yield* c.h.post("/optim_step", { model_id: model, adam_params: {} })
      assert.strictEqual((yield* c.h.retrieve(step.body.request_id)).body.metrics["unclipped_grad_l2:mean"], 0)
    }))
})
