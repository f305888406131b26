import { assert, describe, it } from "@effect/vitest"
import { Chunk, Context, Effect, Exit, Fiber, FiberId, Layer, Option, Schema, Scope, Stream, TestClock } from "effect"
import { inspect } from "node:util"
import type * as HttpTransport from "../../src/client/HttpTransport.js"
import { prepare } from "../../src/client/sampling/sampleRequest.js"
import * as SamplingClient from "../../src/client/SamplingClient.js"
import { type Entry, SamplingRegistry } from "../../src/client/SamplingRegistry.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as Json from "../../src/protocol/Json.js"
import { SampleRequest } from "../../src/protocol/Sampling.js"
import * as TensorData from "../../src/protocol/TensorData.js"
import type * as TinkexConfig from "../../src/TinkexConfig.js"
import {
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

const test = (
  name: string,
  body: (
    fake: Fake,
    sampler: SamplingClient.Client,
    service: ServiceClient.Client
  ) => Effect.Effect<void, unknown, Environment>,
  options?: TinkexConfig.Options,
  config?: object,
  parts?: HttpTransport.PartsOptions
) =>
  testOver(name, (fake) =>
    Effect.gen(function*() {
      if (config !== undefined) fake.on("client/config", () => ({ json: config }))
      const service = yield* serviceOf(options)
      const sampler = yield* service.createSamplingClient({ baseModel: "tinkex/nano" })
      fake.calls.length = 0
      yield* body(fake, sampler, service)
    }), parts)

const seqIds = (fake: Fake) => fake.of("asample").map((call) => call.body["seq_id"])
const prompt = [1, 2, 3]

describe("SamplingClient", () => {
  test("draws sequences, with their ids", (fake, sampler) =>
    Effect.gen(function*() {
      const { promptCacheHitTokens, sequences } = yield* sampler.sample({ prompt, numSamples: 2, maxTokens: 4 })
      assert.strictEqual(promptCacheHitTokens, 0)
      assert.deepStrictEqual(sequences.map((sequence) => Array.from(sequence.tokens)), [[1, 2], [1, 2]])
      assert.deepStrictEqual(sequences.map((sequence) => sequence.sequenceId), ["q0.0", "q0.1"])
      assert.strictEqual(sequences[0]!.stopReason, "length")
      const [call] = fake.of("asample")
      assert.strictEqual(call!.headers["x-tinker-sampling-backpressure"], "1")
      const [polled] = fake.of("retrieve_future")
      assert.strictEqual(polled!.headers["accept"], "application/x-protobuf")
      assert.strictEqual(polled!.headers["x-tinker-request-type"], "Sample")
    }))

  test("says all that it is asked to, in the words of the protocol", (fake, sampler) =>
    Effect.gen(function*() {
      yield* sampler.sample({ prompt: new Int32Array(prompt) })
      yield* sampler.sample({
        prompt: {
          chunks: [{ type: "encoded_text", tokens: [1, 2, 3] }, {
            type: "image",
            data: new Uint8Array([1]),
            format: "png"
          }]
        },
        numSamples: 3,
        maxTokens: 5,
        temperature: 0,
        topK: 7,
        topP: 0.5,
        seed: 9,
        stop: [],
        promptLogprobs: true,
        topkPromptLogprobs: 2,
        topkSampleLogprobs: 1,
        targetPromptLogprobs: TensorData.make([[1], [-1]], { dtype: "int64" }),
        promptAltTokensK: 4,
        promptLogprobsLastN: 1,
        recordStabilityInfo: true
      })
      const [plain, full] = fake.of("asample")
      assert.deepStrictEqual(plain!.body, {
        num_samples: 1,
        prompt: { chunks: [{ tokens: [1, 2, 3], type: "encoded_text" }] },
        sampling_params: { temperature: 1, top_k: -1, top_p: 1 },
        sampling_session_id: "s1:sample:0",
        seq_id: 0,
        prompt_logprobs: false,
        topk_prompt_logprobs: 0,
        topk_sample_logprobs: 0,
        prompt_alt_tokens_k: 0,
        record_stability_info: false,
        type: "sample"
      })
      const request = yield* Schema.decodeUnknown(SampleRequest)(full!.body)
      assert.deepStrictEqual(request.samplingParams, {
        maxTokens: 5,
        temperature: 0,
        topK: 7,
        topP: 0.5,
        seed: 9,
        stop: []
      })
      assert.isTrue(request.recordStabilityInfo)
      assert.deepStrictEqual([request.numSamples, request.promptLogprobs, request.topkPromptLogprobs], [3, true, 2])
      assert.deepStrictEqual([request.topkSampleLogprobs, request.promptAltTokensK, request.promptLogprobsLastN], [
        1,
        4,
        1
      ])
      assert.deepStrictEqual(request.targetPromptLogprobs?.shape, [2, 1])
      assert.lengthOf(request.prompt.chunks, 2)
    }))

  it("a seed keeps all its digits", () => {
    const body = prepare({ prompt, seed: 9223372036854775813n }).toJson("s", 1)
    assert.include(Json.stringify(body), "\"seed\":9223372036854775813")
  })

  test("log-probabilities of a prompt", (fake, sampler) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* sampler.computeLogprobs([1, 2]), [null, -1])
      const { body } = fake.of("asample")[0]!
      assert.strictEqual(body["prompt_logprobs"], true)
      assert.deepStrictEqual(body["sampling_params"], { temperature: 1, top_k: -1, top_p: 1, max_tokens: 1 })
      yield* sampler.computeLogprobs([1, 2, 3], { lastN: 2 })
      assert.strictEqual(fake.of("asample")[1]!.body["prompt_logprobs_last_n"], 2)
      fake.on("asample", () => fake.accept({ json: { sequences: [], type: "sample" } }))
      const error = yield* Effect.flip(sampler.computeLogprobs([1, 2]))
      assert.strictEqual(error._tag, "MalformedResponse")
    }))

  test("reads results in JSON too, and does without ids", (fake, sampler) =>
    Effect.gen(function*() {
      fake.on("asample", () =>
        fake.accept({ json: { sequences: [{ stop_reason: "stop", tokens: [4], logprobs: [-0.5] }] } }))
      const { sequences } = yield* sampler.sample({ prompt })
      assert.deepStrictEqual(Array.from(sequences[0]!.tokens), [4])
      assert.isUndefined(sequences[0]!.sequenceId)
      fake.on("asample", () =>
        fake.accept({
          json: { sequences: [{ stop_reason: "stop", tokens: [4] }, { stop_reason: "stop", tokens: [5] }] }
        }, {
          sample_sequence_ids: ["only"]
        }))
      const { sequences: two } = yield* sampler.sample({ prompt, numSamples: 2 })
      assert.deepStrictEqual(
        two.map((sequence) =>
          sequence.sequenceId
        ),
        ["only", undefined]
      )
    }))

  describe("what is wrong is refused before anything is sent", () => {
    const cases: ReadonlyArray<readonly [Partial<SamplingClient.SampleOptions>, string]> = [
      [{ prompt: [] }, "prompt"],
      [{ prompt: { chunks: [] } }, "prompt"],
      [{ prompt: [1, -1] }, "tokens[1]"],
      [{ prompt: [0.5] }, "tokens[0]"],
      [{ numSamples: 0 }, "numSamples"],
      [{ maxTokens: 0 }, "maxTokens"],
      [{ maxTokens: 1.5 }, "maxTokens"],
      [{ temperature: -1 }, "temperature"],
      [{ temperature: Number.NaN }, "temperature"],
      [{ topK: 0 }, "topK"],
      [{ topP: 0 }, "topP"],
      [{ topP: 1.1 }, "topP"],
      [{ seed: 0.5 }, "seed"],
      [{ stop: ["a", 1] as never }, "stop[1]"],
      [{ stop: [-1] }, "stop[0]"],
      [{ stop: [{}] as never }, "stop[0]"],
      [{ topkPromptLogprobs: -1 }, "topkPromptLogprobs"],
      [{ topkSampleLogprobs: 0.5 }, "topkSampleLogprobs"],
      [{ promptAltTokensK: -1 }, "promptAltTokensK"],
      [{ promptLogprobsLastN: 1 }, "promptLogprobs: true"],
      [{ promptLogprobs: true, promptLogprobsLastN: 3 }, "at most 2"],
      [{ promptLogprobs: true, promptLogprobsLastN: 0 }, "promptLogprobsLastN"],
      [{ targetPromptLogprobs: TensorData.make([1, 2]) }, "targetPromptLogprobs"]
    ]
    for (const [options, part] of cases) {
      test(
        `${
          Object.entries(options).map(([key, value]) => `${key}: ${inspect(value, { breakLength: Infinity })}`).join(
            ", "
          )
        }`,
        (fake, sampler) =>
          Effect.gen(function*() {
            const error = yield* Effect.flip(sampler.sample({ prompt, ...options }))
            assert.instanceOf(error, InvalidInput)
            assert.include(error.message, part)
            assert.lengthOf(fake.calls, 0)
            yield* sampler.sample({ prompt, stop: "x" })
            assert.deepStrictEqual(seqIds(fake), [0])
          })
      )
    }
  })

  describe("failures, without a policy", () => {
    for (
      const [reply, tag] of [
        [{ status: 500 }, "ServerError"],
        [{ status: 400, json: { detail: "bad" } }, "BadRequest"],
        [{ code: "ECONNRESET" }, "ConnectionError"],
        [{ status: 408, json: {} }, "RequestTimeout"],
        [{ status: 429, json: {} }, "RateLimited"]
      ] as ReadonlyArray<readonly [Reply, string]>
    ) {
      test(`${tag} is the caller's at once: one request`, (fake, sampler) =>
        Effect.gen(function*() {
          fake.on("asample", () => reply)
          const error = yield* Effect.flip(sampler.sample({ prompt }))
          assert.strictEqual(error._tag, tag)
          assert.lengthOf(fake.of("asample"), 1)
        }))
    }

    test(
      "20 at once after a 429: numbers 0 to 20, none before the wait is over, the limiter clear in the end",
      (fake, sampler, service) =>
        Effect.gen(function*() {
          fake.on("asample", (_, n) => n === 0 ? { status: 429, headers: { "retry-after": "4" }, json: {} } : undefined)
          yield* Effect.flip(sampler.sample({ prompt }))
          const all = yield* Effect.fork(
            Effect.forEach(Array.from({ length: 20 }), () => sampler.sample({ prompt }), { concurrency: "unbounded" })
          )
          yield* TestClock.adjust("3999 millis")
          assert.lengthOf(fake.of("asample"), 1)
          yield* TestClock.adjust("1 millis")
          yield* Fiber.join(all)
          assert.deepStrictEqual(
            seqIds(fake).map(Number).sort((a, b) => a - b),
            Array.from({ length: 21 }, (_, i) => i)
          )
          assert.isFalse(yield* service.transport.limiter.shouldBackoff)
          assert.deepStrictEqual(yield* leftovers(service), { permits: 0, entries: 1, pending: 0 })
        })
    )

    test("a failed result is final", (fake, sampler) =>
      Effect.gen(function*() {
        fake.on("retrieve_future", () => ({ json: { error: "no room", category: "server" } }))
        const error = yield* Effect.flip(sampler.sample({ prompt }))
        assert.strictEqual(error._tag, "RequestFailed")
        assert.lengthOf(fake.of("asample"), 1)
      }))

    test(
      "a result that the service lost is sampled again under the same number, a few times",
      (fake, sampler) =>
        Effect.gen(function*() {
          fake.on("retrieve_future", (_, n) => n < 2 ? { status: 410, json: {} } : undefined)
          yield* sampler.sample({ prompt })
          assert.deepStrictEqual(seqIds(fake), [0, 0, 0])
          fake.on("retrieve_future", () => ({ status: 410, json: {} }))
          const error = yield* Effect.flip(sampler.sample({ prompt }))
          assert.strictEqual(error._tag, "FutureExpired")
          assert.deepStrictEqual(seqIds(fake).slice(3), [1, 1, 1, 1])
        })
    )

    test("a number that certainly never left is used again", (fake, sampler) =>
      Effect.gen(function*() {
        fake.on("asample", (_, n) => n === 0 ? { code: "ECONNREFUSED" } : undefined)
        yield* Effect.flip(sampler.sample({ prompt }))
        yield* sampler.sample({ prompt })
        assert.deepStrictEqual(seqIds(fake), [0, 0])
      }))
  })

  describe("policy standard", () => {
    test(
      "repeats the submission as training calls are, with one number and one key",
      (fake, sampler) =>
        Effect.gen(function*() {
          fake.on("asample", (_, n) => n < 3 ? { status: 503 } : undefined)
          yield* rushed(sampler.sample({ prompt }))
          assert.deepStrictEqual(seqIds(fake), [0, 0, 0, 0])
          assert.lengthOf(new Set(fake.of("asample").map((call) => call.headers["x-idempotency-key"])), 1)
          fake.on("asample", () => ({ status: 400, json: {} }))
          yield* Effect.flip(sampler.sample({ prompt }))
          assert.lengthOf(fake.of("asample"), 5)
        }),
      { samplingRetry: "standard" }
    )

    test(
      "the service can forbid it",
      (fake, sampler) =>
        Effect.gen(function*() {
          fake.on("asample", () => ({ status: 503 }))
          yield* Effect.flip(sampler.sample({ prompt }))
          assert.lengthOf(fake.of("asample"), 1)
        }),
      { samplingRetry: "standard" },
      { sample_no_retries: true }
    )
  })

  describe("policy progress-timeout", () => {
    test(
      "goes on while samples of the client succeed now and then",
      (fake, sampler) =>
        Effect.gen(function*() {
          // every second 20 seconds long, one sample of the other kind gets through
          fake.on("asample", ({ at, body }) => body["num_samples"] === 2 && at < 150_000 ? { status: 503 } : undefined)
          const stubborn = yield* Effect.fork(sampler.sample({ prompt, numSamples: 2 }))
          for (let i = 0; i < 8; i++) {
            yield* TestClock.adjust("20 seconds")
            yield* sampler.sample({ prompt })
          }
          yield* TestClock.adjust("20 seconds")
          yield* Fiber.join(stubborn)
          assert.isAbove(fake.of("asample").filter((call) => call.body["seq_id"] === 0).length, 10)
        }),
      { samplingRetry: { policy: "progress-timeout", progressTimeout: "1 minute" }, timeouts: { call: "1 hour" } },
      {},
      { breaker: { enabled: false } }
    )

    test("ends when none has for so long", (fake, sampler) =>
      Effect.gen(function*() {
        yield* TestClock.adjust("1 hour") // idle time does not count
        fake.on("asample", (_, n) =>
          n % 2 === 0 ? { status: 503 } : { status: 429, headers: { "retry-after": "2" }, json: {} })
        const before = yield* Effect.clockWith((clock) =>
          clock.currentTimeMillis
        )
        const error = yield* Effect.flip(rushed(sampler.sample({ prompt }), "500 millis"))
        assert.include(["ServerError", "RateLimited", "CircuitOpen"], error._tag)
        const spent = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - before
        assert.isAtLeast(spent, 40_000)
        assert.isAtMost(spent, 61_000)
      }), { samplingRetry: { policy: "progress-timeout", progressTimeout: "1 minute" } })

    test("a user's mistake is final all the same", (fake, sampler) =>
      Effect.gen(function*() {
        fake.on("asample", () => ({ status: 422, json: {} }))
        yield* Effect.flip(sampler.sample({ prompt }))
        assert.lengthOf(fake.of("asample"), 1)
      }), { samplingRetry: "progress-timeout" })

    test(
      "its repeats are told, and waits are half a second doubling to ten, give or take a quarter",
      (fake, sampler) =>
        Effect.gen(function*() {
          const events = yield* recordEvents
          fake.on("asample", (_, n) => n < 4 ? { status: 503 } : undefined)
          yield* rushed(sampler.sample({ prompt }), "50 millis")
          const delays = events.flatMap((event) => event._tag === "Retry" ? [event.delayMs] : [])
          assert.lengthOf(delays, 4)
          delays.forEach((delay, i) => {
            assert.isAtLeast(delay, 0.75 * 500 * 2 ** i)
            assert.isAtMost(delay, 1.25 * 500 * 2 ** i + 1)
          })
        }),
      { samplingRetry: "progress-timeout" }
    )
  })

  describe("dispatch", () => {
    test("so many requests at one time, and no more", (fake, sampler) =>
      Effect.gen(function*() {
        fake.on("asample", (call, n) => Effect.as(Effect.sleep("1 second"), fake.usual("asample")(call, n) as Reply))
        const all = yield* Effect.fork(
          Effect.forEach(Array.from({ length: 20 }), () => sampler.sample({ prompt }), { concurrency: "unbounded" })
        )
        yield* settle
        assert.lengthOf(fake.of("asample"), 7)
        yield* TestClock.adjust("3 seconds")
        yield* Fiber.join(all)
        assert.deepStrictEqual(seqIds(fake), Array.from({ length: 20 }, (_, i) => i))
      }), { pools: { sampling: 7 } })

    test(
      "their bytes are limited as the service says; one of any size still goes",
      (fake, sampler) =>
        Effect.gen(function*() {
          fake.on("asample", (call, n) => Effect.as(Effect.sleep("1 second"), fake.usual("asample")(call, n) as Reply))
          const long = Array.from({ length: 60 }, () => 1) // weighs 600
          const all = yield* Effect.fork(
            Effect.forEach([long, long, long], (prompt) => sampler.sample({ prompt }), { concurrency: "unbounded" })
          )
          yield* settle
          assert.lengthOf(fake.of("asample"), 2)
          yield* TestClock.adjust("2 seconds")
          yield* Fiber.join(all)
          const huge = yield* Effect.fork(sampler.sample({ prompt: Array.from({ length: 1000 }, () => 1) }))
          yield* settle
          assert.lengthOf(fake.of("asample"), 4)
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(huge)
        }),
      {},
      { sample_dispatch_bytes_semaphore_size: 1000 }
    )
  })

  describe("interruption", () => {
    const phases: ReadonlyArray<
      readonly [string, (fake: Fake, service: ServiceClient.Client) => Effect.Effect<unknown>]
    > = [
      ["while it waits for the limiter", (_, service) => service.transport.limiter.setBackoff("10 seconds")],
      ["while it is sent", (fake) => Effect.sync(() => fake.on("asample", () => Effect.never))],
      ["while it is polled", (fake) => Effect.sync(() => fake.on("retrieve_future", () => Effect.never))]
    ]
    for (const [phase, arrange] of phases) {
      test(`${phase} leaves nothing behind`, (fake, sampler, service) =>
        Effect.gen(function*() {
          yield* arrange(fake, service)
          const sampling = yield* Effect.fork(sampler.sample({ prompt }))
          yield* settle
          yield* Fiber.interrupt(sampling)
          assert.strictEqual(fake.inFlight, 0)
          assert.deepStrictEqual(yield* leftovers(service), { permits: 0, entries: 1, pending: 0 })
          assert.lengthOf(fake.of("cancel_future"), 0)
          fake.on("asample", () => undefined)
          fake.on("retrieve_future", () => undefined)
          yield* service.transport.limiter.clearBackoff
          yield* sampler.sample({ prompt })
        }))
    }

    testOver(
      "while it is handed in is told as well, once its acknowledgement comes; what was never sent is not",
      (fake) =>
        Effect.gen(function*() {
          fake.on("client/dynamic_config", () => ({ json: { sample_cancel_enabled: true } }))
          const service = yield* serviceOf({ pools: { sampling: 1 } })
          const sampler = yield* service.createSamplingClient({ baseModel: "m" })
          fake.on(
            "asample",
            (call, n) => Effect.delay(Effect.succeed(fake.usual("asample")(call, n) as Reply), "1 second")
          )
          const sampling = yield* Effect.fork(sampler.sample({ prompt }))
          yield* settle
          const waiting = yield* Effect.fork(sampler.sample({ prompt }))
          yield* settle
          yield* Fiber.interrupt(waiting)
          yield* Fiber.interrupt(sampling)
          yield* TestClock.adjust("2 seconds")
          yield* settle
          assert.lengthOf(fake.of("asample"), 1)
          assert.deepStrictEqual(fake.of("cancel_future").map((call) => call.body), [{ request_id: "req-1" }])
          assert.deepStrictEqual(yield* leftovers(service), { permits: 0, entries: 1, pending: 0 })
        })
    )

    testOver(
      "while it is handed in is told by its number where no acknowledgement comes",
      (fake) =>
        Effect.gen(function*() {
          fake.on("client/dynamic_config", () => ({ json: { sample_cancel_enabled: true } }))
          const service = yield* serviceOf()
          const sampler = yield* service.createSamplingClient({ baseModel: "m" })
          fake.on("asample", (call, n) =>
            n === 0
              ? Effect.delay(Effect.succeed<Reply>({ status: 502, json: {} }), "1 second")
              : fake.usual("asample")(call, n))
          const sampling = yield* Effect.fork(sampler.sample({ prompt }))
          yield* settle
          yield* Fiber.interrupt(sampling)
          yield* TestClock.adjust("2 seconds")
          yield* settle
          // handed in once more under its number, which a service knows for the same request
          const numbers = fake.of("asample").map((call) => (call.body as { readonly seq_id: number }).seq_id)
          assert.deepStrictEqual(numbers, [0, 0])
          assert.lengthOf(fake.of("cancel_future"), 1)
          assert.deepStrictEqual(yield* leftovers(service), { permits: 0, entries: 1, pending: 0 })
        })
    )

    testOver("leaves no request behind a client that closes", (fake) =>
      Effect.gen(function*() {
        fake.on("client/dynamic_config", () => ({ json: { sample_cancel_enabled: true } }))
        fake.on("asample", () => Effect.never)
        const sampling = yield* serviceOf().pipe(
          Effect.flatMap((service) => service.createSamplingClient({ baseModel: "m" })),
          Effect.flatMap((sampler) => sampler.sample({ prompt })),
          Effect.scoped,
          Effect.fork
        )
        yield* settle
        assert.strictEqual(fake.inFlight, 1)
        yield* Fiber.interrupt(sampling)
        yield* settle
        assert.strictEqual(fake.inFlight, 0)
      }))

    testOver("is told to the service where it wants that", (fake) =>
      Effect.gen(function*() {
        fake.on("client/dynamic_config", () => ({ json: { sample_cancel_enabled: true } }))
        const service = yield* serviceOf()
        const sampler = yield* service.createSamplingClient({ baseModel: "m" })
        fake.on("retrieve_future", () => Effect.never)
        const sampling = yield* Effect.fork(sampler.sample({ prompt }))
        yield* settle
        yield* Fiber.interrupt(sampling)
        yield* settle
        assert.deepStrictEqual(fake.of("cancel_future").map((call) => call.body), [{ request_id: "req-1" }])
      }))
  })

  test("knows what it samples from", (fake, sampler, service) =>
    Effect.gen(function*() {
      const info = yield* sampler.getInfo
      assert.strictEqual(info.baseModel, "tinkex/nano")
      assert.include(fake.of("samplers")[0]!.url, "/api/v1/samplers/s1:sample:0")
      const path = "tinker://r:train:0/sampler_weights/x"
      const saved = yield* service.createSamplingClient({ modelPath: path })
      assert.strictEqual(saved.model.modelPath, path)
      assert.deepStrictEqual(fake.of("create_sampling_session")[0]!.body, {
        session_id: "s1",
        sampling_session_seq_id: 1,
        model_path: path,
        type: "create_sampling_session"
      })
      // the name of its base model is asked for, the other's is known
      const tokenizer = yield* saved.tokenizer
      assert.strictEqual(yield* sampler.tokenizer, tokenizer)
      assert.lengthOf(fake.of("samplers"), 2)
      assert.isTrue(SamplingClient.isSamplingClient(sampler))
      assert.include(inspect(sampler), "s1:sample:0")
      assert.strictEqual(sampler.pipe((self) => self.samplingSessionId), "s1:sample:0")
    }))

  test("events tell what was sampled", (_, sampler) =>
    Effect.gen(function*() {
      const events = yield* recordEvents
      yield* sampler.sample({ prompt, numSamples: 3 })
      const [told] = events.filter((event) => event._tag === "Sampled")
      assert.deepInclude(told, { samplerId: "s1:sample:0", sequences: 3, tokens: 6, promptTokens: 3, durationMs: 0 })
    }))
})

describe("SamplingRegistry", () => {
  testOver("an entry lives as long as its scope, however that ends", () =>
    Effect.gen(function*() {
      const registry = yield* SamplingRegistry
      const service = yield* serviceOf()
      const ends: ReadonlyArray<Exit.Exit<unknown, unknown>> = [Exit.void, Exit.fail("x"), Exit.interrupt(FiberId.none)]
      for (const end of ends) {
        const scope = yield* Scope.make()
        const sampler = yield* Scope.extend(service.createSamplingClient({ baseModel: "m" }), scope)
        const entries = yield* registry.entries
        assert.deepStrictEqual(entries.map((entry) => entry.id), [sampler.id])
        const [entry] = entries
        assert.strictEqual(entry!.limiter, service.transport.limiter)
        assert.strictEqual(entry!.settings, service.settings)
        assert.strictEqual(entry!.samplingSessionId, sampler.samplingSessionId)
        yield* sampler.sample({ prompt })
        assert.strictEqual(yield* entry!.nextSeqId, 1)
        yield* Scope.close(scope, end)
        assert.deepStrictEqual(yield* registry.entries, [])
        assert.strictEqual((yield* Effect.flip(sampler.sample({ prompt })))._tag, "ClientClosed")
      }
    }))

  testOver(
    "a client that could not be made leaves no entry, and neither does one that is interrupted",
    (fake) =>
      Effect.gen(function*() {
        const registry = yield* SamplingRegistry
        const service = yield* serviceOf()
        fake.on("create_sampling_session", (_, n) => n === 0 ? { status: 400, json: {} } : Effect.never)
        yield* Effect.flip(service.createSamplingClient({ baseModel: "m" }))
        const making = yield* Effect.fork(Effect.scoped(service.createSamplingClient({ baseModel: "m" })))
        yield* settle
        yield* Fiber.interrupt(making)
        assert.deepStrictEqual(yield* registry.entries, [])
      })
  )

  testOver(
    "the current client is the one opened last that is still open, in whatever order they are closed",
    () =>
      Effect.gen(function*() {
        const registry = yield* SamplingRegistry
        const service = yield* serviceOf()
        const open = Effect.gen(function*() {
          const scope = yield* Scope.make()
          const sampler = yield* Scope.extend(service.createSamplingClient({ baseModel: "m" }), scope)
          return { id: sampler.id, close: Scope.close(scope, Exit.void) }
        })
        const current = Effect.map(registry.current, Option.map((entry: Entry) => entry.id))
        assert.deepStrictEqual(yield* current, Option.none())
        const a = yield* open
        const b = yield* open
        const c = yield* open
        assert.deepStrictEqual(yield* current, Option.some(c.id))
        yield* b.close
        assert.deepStrictEqual(yield* current, Option.some(c.id))
        yield* c.close
        assert.deepStrictEqual(yield* current, Option.some(a.id))
        const d = yield* open
        // closed by another fiber: this one's is not current either
        yield* Fiber.join(yield* Effect.fork(d.close))
        assert.deepStrictEqual(yield* current, Option.some(a.id))
        yield* Fiber.interrupt(yield* Effect.fork(Effect.zipRight(a.close, Effect.never)))
        yield* settle
        assert.deepStrictEqual(yield* current, Option.none())
      })
  )

  testOver("fibers inherit the current client, and keep their own to themselves", (fake) =>
    Effect.gen(function*() {
      const registry = yield* SamplingRegistry
      const service = yield* serviceOf()
      const none = yield* Effect.flip(SamplingClient.sampleCurrent({ prompt }))
      assert.strictEqual(none._tag, "ClientClosed")
      const outer = yield* service.createSamplingClient({ baseModel: "outer" })
      const inner = yield* Effect.fork(Effect.scoped(Effect.gen(function*() {
        const before = yield* registry.current
        assert.deepStrictEqual(Option.map(before, (entry) => entry.id), Option.some(outer.id))
        const own = yield* service.createSamplingClient({ baseModel: "inner" })
        yield* SamplingClient.sampleCurrent({ prompt })
        assert.strictEqual(fake.of("asample")[0]!.body["sampling_session_id"], own.samplingSessionId)
        yield* Effect.never
      })))
      yield* settle
      yield* SamplingClient.sampleCurrent({ prompt })
      assert.strictEqual(fake.of("asample")[1]!.body["sampling_session_id"], outer.samplingSessionId)
      yield* Fiber.interrupt(inner)
    }))

  testOver("can be watched", () =>
    Effect.gen(function*() {
      const registry = yield* SamplingRegistry
      const service = yield* serviceOf()
      const changes = yield* registry.changes
      yield* Effect.scoped(service.createSamplingClient({ baseModel: "m" }))
      const seen = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(changes, 2)))
      assert.deepStrictEqual(seen.map((change) => change._tag), ["Opened", "Closed"])
      assert.strictEqual(seen[0]!.entry, seen[1]!.entry)
      assert.strictEqual(registry.get(seen[0]!.entry.id), undefined)
    }))

  testOver("several of one session are told apart", (fake) =>
    Effect.gen(function*() {
      const registry = yield* SamplingRegistry
      fake.on("create_sampling_session", () => ({ json: { sampling_session_id: "same" } }))
      const service = yield* serviceOf()
      const samplers = yield* Effect.all(
        Array.from({ length: 5 }, () => service.createSamplingClient({ baseModel: "m" })),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(new Set(samplers.map((sampler) => sampler.id)), 5)
      assert.lengthOf(yield* registry.entries, 5)
      // and each asked for a session of its own
      assert.deepStrictEqual(
        fake.of("create_sampling_session").map((call) => call.body["sampling_session_seq_id"]),
        [0, 1, 2, 3, 4]
      )
    }))

  it.scoped("as a layer", () => {
    const fake = makeFake()
    return Effect.gen(function*() {
      const layer = Layer.provide(
        SamplingClient.layerModel({ baseModel: "m" }),
        Layer.scoped(ServiceClient.ServiceClient, serviceOf())
      )
      const sampler = Context.get(yield* Layer.build(layer), SamplingClient.SamplingClient)
      yield* sampler.sample({ prompt })
    }).pipe(Effect.provide(layerOver(fake)))
  })
})
