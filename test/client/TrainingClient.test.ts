import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, FastCheck as fc, Fiber, FiberId, Layer, Scope } from "effect"
import { inspect } from "node:util"
import * as Future from "../../src/client/Future.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as Chunks from "../../src/client/training/chunks.js"
import { validateData } from "../../src/client/training/validateData.js"
import * as TrainingClient from "../../src/client/TrainingClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as ForwardBackwardCodec from "../../src/protocol/ForwardBackwardCodec.js"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import type { LossFn, LossFnConfig } from "../../src/protocol/Training.js"
import * as Zstd from "../../src/protocol/Zstd.js"
import type * as TinkexConfig from "../../src/TinkexConfig.js"
import {
  type Call,
  type Environment,
  type Fake,
  layerOver,
  leftovers,
  makeFake,
  recordEvents,
  type Reply,
  rushed,
  serviceOf,
  settle,
  testOver
} from "./fixtures/FakeService.js"

const datum = (n = 2): Datum.Datum =>
  Datum.make({
    modelInput: Array.from({ length: n }, (_, i) => i),
    lossFnInputs: { target_tokens: Array.from({ length: n }, (_, i) => i + 1), weights: new Float32Array(n).fill(0.5) }
  })

const test = (
  name: string,
  body: (
    fake: Fake,
    training: TrainingClient.Client,
    service: ServiceClient.Client
  ) => Effect.Effect<void, unknown, Environment>,
  options?: TinkexConfig.Options,
  config?: object
) =>
  testOver(name, (fake) =>
    Effect.gen(function*() {
      if (config !== undefined) fake.on("client/config", () => ({ json: config }))
      const service = yield* serviceOf(options)
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano" })
      fake.calls.length = 0
      yield* body(fake, training, service)
    }))

const passOf = (call: Call) => Effect.runSync(ForwardBackwardCodec.decodeRequest(call.bytes))

/** Endpoint and number of every operation that was sent, in order. */
const sent = (fake: Fake): ReadonlyArray<string> =>
  fake.calls.flatMap((call) =>
    call.endpoint === "forward_backward"
      ? [`${passOf(call).forwardOnly ? "f" : "fb"} ${passOf(call).seqId}`]
      : call.body["seq_id"] === undefined
      ? []
      : [`${call.endpoint} ${String(call.body["seq_id"])}`]
  )

describe("TrainingClient", () => {
  test(
    "a training loop: operations go out in order, pipelined, and their results come back",
    (fake, training) =>
      Effect.gen(function*() {
        for (let i = 0; i < 3; i++) {
          const gradients = yield* training.forwardBackward([datum(), datum(3)], "cross_entropy")
          const step = yield* training.optimStep({ learningRate: 1e-2 })
          const [{ lossFnOutputs, metrics }, { metrics: more }] = yield* Effect.all([
            Future.await(gradients),
            Future.await(step)
          ])
          assert.strictEqual(metrics["loss:sum"], 2)
          assert.lengthOf(lossFnOutputs, 2)
          assert.strictEqual(more["grad_norm:mean"], 1)
        }
        const saved = yield* Effect.flatMap(training.saveState("ck"), Future.await)
        assert.strictEqual(saved.path, "tinker://s1:train:0/weights/ck")
        assert.deepStrictEqual(sent(fake), [
          "fb 1",
          "optim_step 2",
          "fb 3",
          "optim_step 4",
          "fb 5",
          "optim_step 6",
          "save_weights 7"
        ])
        const [first] = fake.of("forward_backward")
        assert.strictEqual(first!.headers["content-type"], "application/x-protobuf")
        assert.isUndefined(first!.headers["content-encoding"])
        const pass = passOf(first!)
        assert.strictEqual(pass.modelId, "s1:train:0")
        assert.strictEqual(pass.lossFn, "cross_entropy")
        assert.lengthOf(pass.data, 2)
        const polled = fake.of("retrieve_future").map((call) => call.headers["x-tinker-request-type"])
        assert.includeMembers(polled, ["ForwardBackward", "OptimStep", "SaveWeights"])
      })
  )

  test("every operation says what the protocol says", (fake, training) =>
    Effect.gen(function*() {
      const path = "tinker://s1:train:0/weights/ck"
      yield* Effect.flatMap(training.forward([datum()], "ppo_x" as LossFn), Future.await).pipe(Effect.flip)
      yield* Effect.flatMap(training.forward([datum()], "cross_entropy", { a: 1, b: "text" }), Future.await)
      yield* training.optimStep()
      yield* training.optimStep({ learningRate: 0.5, beta1: undefined, gradClipNorm: 1 } as never)
      yield* training.saveState("ck", { ttl: "1 hour", overwrite: true, userMetadata: { k: "v" } })
      yield* training.loadState(path)
      yield* training.loadState(path, { optimizer: true })
      const named = yield* Effect.flatMap(training.saveWeightsForSampler("s", { ttl: "2 hours" }), Future.await)
      assert.strictEqual(named.path, "tinker://s1:train:0/sampler_weights/s")
      assert.deepStrictEqual(sent(fake), [
        "f 1",
        "optim_step 2",
        "optim_step 3",
        "save_weights 4",
        "load_weights 5",
        "load_weights 6",
        "save_weights_for_sampler 7"
      ])
      assert.deepStrictEqual(passOf(fake.of("forward_backward")[0]!).lossFnConfig, { a: 1, b: "text" })
      assert.deepStrictEqual(fake.of("optim_step").map((call) => call.body["adam_params"]), [
        { learning_rate: 0.0001, beta1: 0.9, beta2: 0.95, eps: 1e-12, weight_decay: 0, grad_clip_norm: 0 },
        { learning_rate: 0.5, beta1: 0.9, beta2: 0.95, eps: 1e-12, weight_decay: 0, grad_clip_norm: 1 }
      ])
      assert.deepStrictEqual(fake.of("save_weights")[0]!.body, {
        model_id: "s1:train:0",
        path: "ck",
        seq_id: 4,
        ttl_seconds: 3600,
        overwrite: true,
        user_metadata: { k: "v" },
        type: "save_weights"
      })
      assert.deepStrictEqual(fake.of("load_weights").map((call) => call.body["optimizer"]), [false, true])
      assert.deepStrictEqual(fake.of("save_weights_for_sampler")[0]!.body, {
        model_id: "s1:train:0",
        path: "s",
        seq_id: 7,
        ttl_seconds: 7200,
        kind: "snapshot",
        type: "save_weights_for_sampler"
      })
    }))

  test(
    "weights go into a sampler without a checkpoint, under the next number of samplers",
    (fake, training, service) =>
      Effect.gen(function*() {
        yield* service.createSamplingClient({ baseModel: "m" })
        const sampler = yield* training.saveWeightsAndGetSamplingClient
        assert.deepStrictEqual(fake.of("save_weights_for_sampler")[0]!.body, {
          model_id: "s1:train:0",
          sampling_session_seq_id: 1,
          seq_id: 1,
          kind: "snapshot",
          type: "save_weights_for_sampler"
        })
        assert.strictEqual(sampler.samplingSessionId, "sample-1")
        assert.lengthOf(fake.of("create_sampling_session"), 1)
        const { sequences } = yield* sampler.sample({ prompt: [1] })
        assert.lengthOf(sequences, 1)
        const tokenizer = yield* sampler.tokenizer
        assert.strictEqual(tokenizer, yield* training.tokenizer)
      })
  )

  test("a save that names nothing is a fault of the service", (fake, training) =>
    Effect.gen(function*() {
      fake.on("save_weights_for_sampler", () => fake.accept({ json: {} }))
      const unnamed = yield* Effect.flip(rushed(training.saveWeightsAndGetSamplingClient))
      const named = yield* Effect.flip(rushed(Effect.flatMap(training.saveWeightsForSampler("x"), Future.await)))
      assert.strictEqual(unnamed._tag, "MalformedResponse")
      assert.include(unnamed.message, "sampling_session_id")
      assert.strictEqual(named._tag, "MalformedResponse")
    }))

  test("a number for a sampler that was never seen is used again", (fake, training) =>
    Effect.gen(function*() {
      fake.on("save_weights_for_sampler", (_, n) => n === 0 ? { code: "ECONNREFUSED" } : undefined)
      yield* Effect.flip(training.saveWeightsAndGetSamplingClient)
      yield* training.saveWeightsAndGetSamplingClient
      const numbers = fake.of("save_weights_for_sampler").map((
        { body }
      ) => [body["seq_id"], body["sampling_session_seq_id"]])
      assert.deepStrictEqual(numbers, [[1, 0], [1, 0]])
    }), { retry: { times: 0 } })

  test("knows its model and tokenizer, and frees it", (fake, training) =>
    Effect.gen(function*() {
      const info = yield* training.getInfo
      assert.strictEqual(info.modelData.modelName, "tinkex/nano")
      const tokenizer = yield* training.tokenizer
      const beyond = yield* Effect.flip(training.forwardBackward([
        Datum.fromCompletion([1], [tokenizer.vocabSize])
      ], "cross_entropy"))
      assert.include(beyond.message, "vocabulary")
      yield* training.optimStep()
      yield* Effect.flatMap(training.unload, Future.await)
      assert.deepStrictEqual(fake.of("unload_model")[0]!.body, { model_id: "s1:train:0", type: "unload_model" })
      const error = yield* Effect.flip(training.optimStep())
      assert.strictEqual(error._tag, "ClientClosed")
      assert.include(error.message, "unloaded")
      assert.isTrue(TrainingClient.isTrainingClient(training))
      assert.include(inspect(training), "s1:train:0")
      assert.strictEqual(training.pipe((self) => self.modelId), "s1:train:0")
    }))

  describe("chunks", () => {
    test(
      "1,025 examples against a server that takes 1,024: two requests, order fb fb optim save",
      (fake, training) =>
        Effect.gen(function*() {
          const data = Array.from({ length: 1025 }, () => datum(1))
          const gradients = yield* training.forwardBackward(data, "cross_entropy")
          yield* training.optimStep()
          yield* training.saveState("x")
          const output = yield* Future.await(gradients)
          assert.deepStrictEqual(sent(fake), ["fb 1", "fb 2", "optim_step 3", "save_weights 4"])
          assert.deepStrictEqual(fake.of("forward_backward").map((call) => passOf(call).data.length), [1024, 1])
          assert.lengthOf(output.lossFnOutputs, 1025)
          assert.strictEqual(output.metrics["loss:sum"], 1025)
          assert.strictEqual(output.metrics["loss:mean"], 1)
          assert.lengthOf(gradients.requestIds, 2)
        }),
      {},
      { fwdbwd_max_chunk_len: 1024, fwdbwd_max_chunk_bytes_count: 5_000_000 }
    )

    test(
      "without limits of the server, 128 examples or half a million numbers",
      (fake, training) =>
        Effect.gen(function*() {
          yield* training.forwardBackward(Array.from({ length: 129 }, () => datum(1)), "cross_entropy")
          assert.deepStrictEqual(fake.of("forward_backward").map((call) => passOf(call).data.length), [128, 1])
        })
    )

    test("the next request waits for the one before it to be acknowledged", (fake, training) =>
      Effect.gen(function*() {
        const go = Deferred.unsafeMake<void>(FiberId.none)
        fake.on("forward_backward", (call, n) =>
          n === 0 ? Effect.as(Deferred.await(go), fake.usual("forward_backward")(call, n) as Reply) : undefined)
        const passing = yield* Effect.fork(training.forwardBackward([datum(), datum()], "cross_entropy"))
        const step = yield* Effect.fork(training.optimStep())
        yield* settle
        assert.deepStrictEqual(sent(fake), ["fb 1"])
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(passing)
        yield* Fiber.join(step)
        assert.deepStrictEqual(sent(fake), ["fb 1", "fb 2", "optim_step 3"])
      }), { chunks: { examples: 1 } })

    it("a chunk is never empty, never reordered and within the limits unless it is one alone", () =>
      fc.assert(fc.property(
        fc.array(fc.integer({ min: 1, max: 30 })),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 60 }),
        (sizes, examples, weight) => {
          const data = sizes.map((n) => datum(n))
          const limits: Chunks.Limits = { examples, weight, weigh: Datum.numberCount }
          const chunks = Chunks.split(data, limits)
          assert.deepStrictEqual(chunks.flat(), data)
          for (const chunk of chunks) {
            const total = chunk.reduce((sum, one) => sum + Datum.numberCount(one), 0)
            assert.isTrue(chunk.length === 1 || (chunk.length > 0 && chunk.length <= examples && total <= weight))
          }
          // greedy: no chunk could have taken the first of the next
          for (let i = 0; i + 1 < chunks.length; i++) {
            const total = [...chunks[i]!, chunks[i + 1]![0]!].reduce((sum, one) => sum + Datum.numberCount(one), 0)
            assert.isTrue(chunks[i]!.length >= examples || total > weight)
          }
        }
      )))

    it("limits: the server's win, one by one", () => {
      const own = { examples: 3, numbers: 100 }
      const server = Chunks.limitsOf({ fwdbwdMaxChunkLen: 9, fwdbwdMaxChunkBytes: 77 }, own)
      assert.deepStrictEqual([server.examples, server.weight], [9, 77])
      assert.strictEqual(server.weigh(datum(3)), Datum.byteSize(datum(3)))
      const mixed = Chunks.limitsOf({ fwdbwdMaxChunkLen: 9 }, own)
      assert.deepStrictEqual([mixed.examples, mixed.weight], [9, 100])
      assert.strictEqual(mixed.weigh(datum(3)), Datum.numberCount(datum(3)))
    })
  })

  describe("turns", () => {
    test("go in the order of asking, whoever asks", (fake, training) =>
      Effect.gen(function*() {
        const operations = Array.from({ length: 20 }, (_, i) =>
          i % 2 === 0 ? training.forwardBackward([datum(), datum()], "cross_entropy") : training.optimStep())
        yield* Effect.all(operations, { concurrency: "unbounded" })
        const expected = Array.from(
          { length: 10 },
          (_, i) => [`fb ${3 * i + 1}`, `fb ${3 * i + 2}`, `optim_step ${3 * i + 3}`]
        )
        assert.deepStrictEqual(sent(fake), expected.flat())
      }), { chunks: { examples: 1 } })

    test(
      "a send that fails stops the rest of its operation and never holds up the next",
      (fake, training) =>
        Effect.gen(function*() {
          fake.on("forward_backward", (_, n) => n === 1 ? { status: 400, json: { detail: "no" } } : undefined)
          const [first, second] = yield* Effect.all([
            Effect.exit(training.forwardBackward([datum(), datum(), datum()], "cross_entropy")),
            training.optimStep()
          ], { concurrency: "unbounded" })
          assert.isTrue(Exit.isFailure(first))
          yield* Future.await(second)
          // number 2 was refused by the service and is used up, 3 was never drawn for a chunk
          assert.deepStrictEqual(sent(fake), ["fb 1", "fb 2", "optim_step 3"])
        }),
      { chunks: { examples: 1 } }
    )

    test(
      "a number that certainly never left is used again, one that may have is not",
      (fake, training) =>
        Effect.gen(function*() {
          fake.on(
            "optim_step",
            (_, n) => n === 0 ? { code: "ECONNREFUSED" } : n === 1 ? { status: 503 } : undefined
          )
          yield* Effect.flip(training.optimStep())
          yield* Effect.flip(training.optimStep())
          yield* training.optimStep()
          assert.deepStrictEqual(sent(fake), ["optim_step 1", "optim_step 1", "optim_step 2"])
        }),
      { retry: { times: 0 } }
    )

    test(
      "a submission whose answer cannot be read is repeated under its number",
      (fake, training) =>
        Effect.gen(function*() {
          const garbled: ReadonlyArray<Reply> = [{ text: "<html>" }, { text: "" }, { text: "{\"request_" }]
          fake.on("forward_backward", (_, n) => garbled[n])
          fake.on("optim_step", (_, n) => garbled[n])
          yield* rushed(training.forwardBackward([datum(1)], "cross_entropy"))
          yield* rushed(training.optimStep())
          assert.deepStrictEqual(sent(fake), [
            ...Array.from({ length: 4 }, () => "fb 1"),
            ...Array.from({ length: 4 }, () => "optim_step 2")
          ])
        })
    )

    test("repeats of one request carry one number", (fake, training) =>
      Effect.gen(function*() {
        fake.on("optim_step", (_, n) => n < 2 ? { status: 503 } : undefined)
        yield* rushed(training.optimStep())
        assert.deepStrictEqual(sent(fake), ["optim_step 1", "optim_step 1", "optim_step 1"])
      }))

    test(
      "with the circuit open nothing leaves and no number is used",
      (fake, training, service) =>
        Effect.gen(function*() {
          const breaker = service.transport.breaker("training")!
          yield* breaker.isolate
          const error = yield* Effect.flip(training.optimStep())
          assert.strictEqual(error._tag, "CircuitOpen")
          assert.lengthOf(fake.calls, 0)
          yield* breaker.reset
          yield* training.optimStep()
          assert.deepStrictEqual(sent(fake), ["optim_step 1"])
        })
    )
  })

  describe("interruption leaves nothing behind, and the next operation works", () => {
    const check = (fake: Fake, training: TrainingClient.Client, service: ServiceClient.Client) =>
      Effect.gen(function*() {
        yield* settle
        assert.strictEqual(fake.inFlight, 0)
        assert.deepStrictEqual(yield* leftovers(service), { permits: 0, entries: 0, pending: 0 })
        fake.on("forward_backward", () => undefined)
        fake.on("optim_step", () => undefined)
        fake.on("retrieve_future", () => undefined)
        yield* rushed(Effect.flatMap(training.optimStep(), Future.await))
      })

    test("while sending", (fake, training, service) =>
      Effect.gen(function*() {
        fake.on("forward_backward", () => Effect.never)
        const sending = yield* Effect.fork(training.forwardBackward([datum()], "cross_entropy"))
        yield* settle
        yield* Fiber.interrupt(sending)
        yield* check(fake, training, service)
        // it may have arrived: its number is used up
        assert.deepStrictEqual(sent(fake), ["fb 1", "optim_step 2"])
      }))

    test("while waiting for a turn", (fake, training, service) =>
      Effect.gen(function*() {
        fake.on("forward_backward", () => Effect.never)
        const sending = yield* Effect.fork(training.forwardBackward([datum()], "cross_entropy"))
        yield* settle
        const waiting = yield* Effect.fork(training.optimStep())
        const behind = yield* Effect.fork(training.saveState("x"))
        yield* settle
        yield* Fiber.interrupt(waiting)
        yield* Fiber.interrupt(sending)
        yield* Fiber.join(behind)
        yield* settle
        yield* check(fake, training, service)
        assert.deepStrictEqual(sent(fake), ["fb 1", "save_weights 2", "optim_step 3"])
      }))

    test("while the transport waits for the limiter", (fake, training, service) =>
      Effect.gen(function*() {
        yield* service.transport.limiter.setBackoff("20 seconds")
        const waiting = yield* Effect.fork(training.optimStep())
        yield* settle
        yield* Fiber.interrupt(waiting)
        yield* check(fake, training, service)
        assert.deepStrictEqual(sent(fake), ["optim_step 1"])
      }))

    test("between two chunks", (fake, training, service) =>
      Effect.gen(function*() {
        fake.on("forward_backward", (_, n) => n === 1 ? Effect.never : undefined)
        const sending = yield* Effect.fork(training.forwardBackward([datum(), datum()], "cross_entropy"))
        yield* settle
        yield* Fiber.interrupt(sending)
        yield* settle
        yield* check(fake, training, service)
        assert.deepStrictEqual(sent(fake), ["fb 1", "fb 2", "optim_step 3"])
      }), { chunks: { examples: 1 } })

    testOver("while it is polled, and while it closes", (fake) =>
      Effect.gen(function*() {
        const service = yield* serviceOf()
        const program = yield* Effect.fork(Effect.scoped(Effect.gen(function*() {
          const training = yield* service.createLoraTrainingClient({ baseModel: "m" })
          fake.on("retrieve_future", () => Effect.never)
          const steps = yield* Effect.all([training.optimStep(), training.optimStep()])
          return yield* Future.await(Future.all(steps))
        })))
        yield* settle
        assert.strictEqual(fake.inFlight, 2)
        assert.lengthOf(yield* service.pending, 2)
        yield* Fiber.interrupt(program)
        yield* settle
        assert.strictEqual(fake.inFlight, 0)
        assert.deepStrictEqual(yield* leftovers(service), { permits: 0, entries: 0, pending: 0 })
      }))
  })

  test("after its scope it is closed", (fake, _, service) =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const training = yield* Scope.extend(service.createLoraTrainingClient({ baseModel: "m" }), scope)
      const go = Deferred.unsafeMake<void>(FiberId.none)
      fake.on("optim_step", (call, n) => Effect.as(Deferred.await(go), fake.usual("optim_step")(call, n) as Reply))
      const late = yield* Effect.fork(Effect.flatMap(training.optimStep(), Future.await).pipe(Effect.flip))
      const queued = yield* Effect.fork(Effect.flip(training.optimStep()))
      yield* settle
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual((yield* Fiber.join(late))._tag, "ClientClosed")
      assert.strictEqual((yield* Fiber.join(queued))._tag, "ClientClosed")
      assert.strictEqual((yield* Effect.flip(training.forward([datum()], "cross_entropy")))._tag, "ClientClosed")
      assert.lengthOf(fake.of("optim_step"), 1)
      assert.deepStrictEqual(yield* leftovers(service), { permits: 0, entries: 0, pending: 0 })
    }))

  describe("bad data is refused before anything is sent", () => {
    const good = datum()
    const with_ = (inputs: Record<string, unknown>, input: object = good.modelInput): Datum.Datum =>
      ({ modelInput: input, lossFnInputs: { ...good.lossFnInputs, ...inputs } }) as never
    const floats = (...values: ReadonlyArray<number>) => ({
      dtype: "float32",
      data: new Float32Array(values),
      shape: [values.length]
    })
    const ints = (...values: ReadonlyArray<number>) => ({
      dtype: "int64",
      data: new Int32Array(values),
      shape: [values.length]
    })
    const text = (...tokens: ReadonlyArray<number>) => ({ chunks: [{ type: "encoded_text", tokens }] })
    const cases: ReadonlyArray<
      readonly [name: string, data: ReadonlyArray<Datum.Datum>, lossFn: LossFn, field: string, config?: LossFnConfig]
    > = [
      ["no data", [], "cross_entropy", "data"],
      ["an unknown loss", [good], "mse", "lossFn"],
      ["a prototype's name as a loss", [good], "toString", "lossFn"],
      [
        "NaN weights",
        [good, with_({ weights: floats(1, Number.NaN) })],
        "cross_entropy",
        "data[1].lossFnInputs.weights[1]"
      ],
      [
        "infinite weights",
        [with_({ weights: floats(Infinity, 1) })],
        "cross_entropy",
        "data[0].lossFnInputs.weights[0]"
      ],
      ["a short tensor", [with_({ weights: floats(1) })], "cross_entropy", "data[0].lossFnInputs.weights"],
      ["no targets", [{ modelInput: good.modelInput, lossFnInputs: {} }], "cross_entropy", "target_tokens"],
      ["no advantages", [good], "importance_sampling", "logprobs"],
      ["a negative token", [with_({}, text(-1, 2))], "cross_entropy", "tokens[0]"],
      ["a fraction as a token", [with_({}, text(0, 1.5))], "cross_entropy", "tokens[1]"],
      ["a token of 33 bits", [with_({}, text(0, 2 ** 32))], "cross_entropy", "tokens[1]"],
      ["a negative target", [with_({ target_tokens: ints(1, -2) })], "cross_entropy", "target_tokens[1]"],
      ["an empty input", [with_({ target_tokens: ints(), weights: floats() }, text())], "cross_entropy", "modelInput"],
      [
        "an image that is only pointed to",
        [with_({}, { chunks: [{ type: "image_asset_pointer", location: "x", format: "png" }] })],
        "cross_entropy",
        "chunks[0]"
      ],
      ["an infinite setting", [good], "ppo", "lossFnConfig.clip", { clip: Infinity }]
    ]
    for (const [name, data, lossFn, field, config] of cases) {
      test(name, (fake, training) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(training.forwardBackward(data, lossFn, config))
          assert.strictEqual(error._tag, "InvalidInput")
          assert.include(error.message, field)
          assert.lengthOf(fake.calls, 0)
          yield* training.optimStep()
          assert.deepStrictEqual(sent(fake), ["optim_step 1"])
        }))
    }

    it("images and audio are taken as they are, targets of images included", () => {
      const image = { type: "image" as const, data: new Uint8Array([1]), format: "png" }
      validateData(
        [{ modelInput: { chunks: [image] }, lossFnInputs: { target_tokens: good.lossFnInputs["target_tokens"]! } }],
        "cross_entropy",
        undefined,
        { vocabSize: 5, storedLosses: false }
      )
    })

    it("a loss that the server stores may have any name", () => {
      validateData([good], "loss-7", { a: "b" }, { vocabSize: undefined, storedLosses: true })
      assert.throws(
        () => validateData([good], "loss-7", undefined, { vocabSize: undefined, storedLosses: false }),
        InvalidInput
      )
    })

    const parameters: ReadonlyArray<
      readonly [string, (training: TrainingClient.Client) => Effect.Effect<unknown, unknown>]
    > = [
      ["learningRate", (training) => training.optimStep({ learningRate: Number.NaN })],
      ["learningRate", (training) => training.optimStep({ learningRate: -1 })],
      ["beta1", (training) => training.optimStep({ beta1: 1 })],
      ["eps", (training) => training.optimStep({ eps: "x" as never })],
      ["name", (training) => training.saveState("")],
      ["name", (training) => training.saveWeightsForSampler("a/b")],
      ["ttl", (training) => training.saveState("a", { ttl: "500 millis" })],
      ["ttl", (training) => training.saveState("a", { ttl: "soon" as never })],
      ["path", (training) => training.loadState("ck")]
    ]
    for (const [field, run] of parameters) {
      test(`${field} of ${run.toString().replace(/^.*?training\./, "")}`, (fake, training) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(run(training))
          assert.instanceOf(error, InvalidInput)
          assert.include(String(error), field)
          assert.lengthOf(fake.calls, 0)
        }))
    }
  })

  test(
    "bodies are compressed when the service asks for it",
    (fake, training) =>
      Effect.gen(function*() {
        fake.on(
          "forward_backward",
          () => fake.accept({ json: { loss_fn_output_type: "x", loss_fn_outputs: [], metrics: {} } })
        )
        const future = yield* training.forwardBackward([datum(50)], "cross_entropy")
        const [call] = fake.of("forward_backward")
        assert.strictEqual(call!.headers["content-encoding"], "zstd")
        const inflated = yield* Zstd.decompress(call!.bytes)
        const request = yield* ForwardBackwardCodec.decodeRequest(inflated)
        assert.strictEqual(request.data.length, 1)
        // and a result in JSON is read too, for servers that know nothing else
        assert.deepStrictEqual((yield* Future.await(future)).lossFnOutputs, [])
      }),
    {},
    { proto_compress_fwdbwd: true }
  )

  test("events tell what was trained on, and every step", (_, training) =>
    Effect.gen(function*() {
      const events = yield* recordEvents
      const gradients = yield* training.forwardBackward([datum(2), datum(3)], "cross_entropy")
      const forward = yield* training.forward([datum()], "cross_entropy")
      const bare = yield* training.forwardBackward([
        { modelInput: datum().modelInput, lossFnInputs: { target_tokens: datum().lossFnInputs["target_tokens"]! } }
      ], "cross_entropy")
      const steps = [yield* training.optimStep(), yield* training.optimStep()]
      yield* Effect.all([gradients, forward, bare].map(Future.await))
      yield* Effect.all(steps.map(Future.await))
      const told = events.flatMap((event) =>
        event._tag === "TrainingPass"
          ? [`${event.modelId} ${event.examples} ${event.tokens} ${event.loss} ${event.weight}`]
          : event._tag === "TrainingStep"
          ? [`step ${event.step}`]
          : []
      )
      assert.deepStrictEqual(told.sort(), ["s1:train:0 1 2 1 undefined", "s1:train:0 2 5 2 2.5", "step 1", "step 2"])
    }))

  it.scoped("as a layer: a new model, or a checkpoint", () => {
    const fake = makeFake()
    return Effect.gen(function*() {
      const service = Layer.scoped(ServiceClient.ServiceClient, serviceOf())
      const path = "tinker://r:train:0/weights/a"
      const build = (layer: Layer.Layer<TrainingClient.TrainingClient, unknown, ServiceClient.ServiceClient>) =>
        Effect.map(Layer.build(Layer.provide(layer, service)), Context.get(TrainingClient.TrainingClient))
      assert.strictEqual((yield* build(TrainingClient.layerLora({ baseModel: "m" }))).baseModel, "m")
      yield* build(TrainingClient.layerFromState(path))
      yield* build(TrainingClient.layerFromState(path, { optimizer: true }))
      assert.deepStrictEqual(fake.of("load_weights").map((call) => call.body["optimizer"]), [false, true])
    }).pipe(Effect.provide(layerOver(fake)))
  })
})
