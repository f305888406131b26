import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, FiberId, Logger, Option, Redacted, Scope, Stream, TestClock } from "effect"
import { inspect } from "node:util"
import { makeCounter } from "../../src/client/service/core.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as TinkexConfig from "../../src/TinkexConfig.js"
import {
  type Fake,
  recordEvents,
  type Reply,
  rushed,
  serviceOf,
  settle,
  testOver as test
} from "./fixtures/FakeService.js"

/** A service in a scope that the test closes. */
const opened = (options?: TinkexConfig.Options) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const service = yield* Scope.extend(serviceOf(options), scope)
    return { service, close: (exit: Exit.Exit<unknown, unknown>) => Scope.close(scope, exit) }
  })

const logging = Effect.sync(() => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel.label} ${String(message)}`)
  })
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
})

const jwt = (exp?: number) => {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  return `${encode({ alg: "none" })}.${encode(exp === undefined ? { sub: "ä" } : { exp })}.x`
}

describe("ServiceClient", () => {
  test("opens with config, flags and a session, in this order, and says who it is", (fake) =>
    Effect.gen(function*() {
      const service = yield* serviceOf({
        tags: ["a"],
        projectId: "p",
        displayName: "d",
        userMetadata: { k: "v" }
      })
      assert.deepStrictEqual(fake.calls.map((call) => call.endpoint), [
        "client/config",
        "client/dynamic_config",
        "create_session"
      ])
      const [config, , session] = fake.calls
      assert.match(String(config!.body["sdk_version"]), /^0\.38\./)
      assert.deepStrictEqual(session!.body, {
        tags: ["a"],
        user_metadata: { k: "v" },
        sdk_version: config!.body["sdk_version"],
        project_id: "p",
        display_name: "d",
        type: "create_session"
      })
      assert.strictEqual(service.sessionId, "s1")
      assert.isTrue(ServiceClient.isServiceClient(service))
      assert.include(inspect(service), "s1")
      assert.notInclude(inspect(service, { depth: 9 }), "secret")
    }))

  test("takes checked settings as well as options; bad options are refused before anything is sent", (fake) =>
    Effect.gen(function*() {
      const settings = yield* TinkexConfig.make({ baseUrl: "http://fake" })
      const service = yield* ServiceClient.make(settings)
      assert.strictEqual(service.settings, settings)
      const before = fake.calls.length
      const error = yield* Effect.flip(ServiceClient.make({ apiKey: "x" }))
      assert.strictEqual(error._tag, "ConfigurationError")
      assert.lengthOf(fake.calls, before)
    }))

  for (
    const reply of [{ status: 500 }, { status: 401 }, { text: "<html>" }, { json: { refresh: [] } }, {
      code: "ECONNRESET"
    }]
  ) {
    test(`what is optional does not stop the start: dynamic_config answers ${JSON.stringify(reply)}`, (fake) =>
      Effect.gen(function*() {
        fake.on("client/dynamic_config", () => reply)
        const service = yield* serviceOf()
        assert.lengthOf(fake.of("client/dynamic_config"), 1)
        yield* service.serverCapabilities
        assert.strictEqual((yield* service.transport.breaker("session")!.state)._tag, "Closed")
      }))
  }

  test("without client/config there is no service; without dynamic_config there is", (fake) =>
    Effect.gen(function*() {
      fake.on("client/dynamic_config", () => ({ status: 404, json: { detail: "no" } }))
      yield* serviceOf()
      fake.on("client/config", () => ({ status: 404, json: { detail: "no" } }))
      const error = yield* Effect.flip(serviceOf())
      assert.strictEqual(error._tag, "NotFound")
    }))

  test("a dead server and a bad key are told at once, or after the repeats", (fake) =>
    Effect.gen(function*() {
      fake.on("client/config", () => ({ code: "ECONNREFUSED" }))
      const dead = yield* Effect.flip(rushed(serviceOf({ retry: { times: 2 } })))
      assert.strictEqual(dead._tag, "ConnectionError")
      assert.include(dead.message, "http://fake")
      fake.on("client/config", () => ({ status: 401, json: { detail: "no such key" } }))
      const bad = yield* Effect.flip(serviceOf())
      assert.strictEqual(bad._tag, "Unauthorized")
      assert.lengthOf(fake.of("create_session"), 0)
    }))

  test("the messages of the service are logged at their level", (fake) =>
    Effect.gen(function*() {
      fake.on("create_session", () => ({
        json: { session_id: "s", info_message: "hello", warning_message: "old", error_message: "bad" }
      }))
      const { layer, lines } = yield* logging
      yield* Effect.provide(serviceOf(), layer)
      assert.includeMembers(lines, ["INFO hello", "WARN old", "ERROR bad"])
    }))

  describe("heartbeats", () => {
    test("go out every ten seconds, and stop with the client", (fake) =>
      Effect.gen(function*() {
        const { close, service } = yield* opened()
        yield* TestClock.adjust("35 seconds")
        assert.deepStrictEqual(fake.of("session_heartbeat").map((call) => call.at), [10_000, 20_000, 30_000])
        assert.deepStrictEqual(fake.of("session_heartbeat")[0]!.body, { session_id: "s1", type: "session_heartbeat" })
        assert.deepStrictEqual(yield* service.sessionState, { _tag: "Live", lastSuccess: 30_000 })
        yield* close(Exit.void)
        yield* TestClock.adjust("1 minute")
        assert.lengthOf(fake.of("session_heartbeat"), 3)
        assert.strictEqual((yield* service.sessionState)._tag, "Ended")
      }))

    test("that fail for two minutes are warned of; the first that succeeds is told too", (fake) =>
      Effect.gen(function*() {
        let down = true
        fake.on(
          "session_heartbeat",
          (_, n) => down ? (n % 2 === 0 ? { status: 500 } : { code: "ECONNRESET" }) : undefined
        )
        const { layer, lines } = yield* logging
        const events = yield* recordEvents
        yield* Effect.gen(function*() {
          const { service } = yield* opened()
          yield* TestClock.adjust("119 seconds")
          // one that fails is told at once, and so is that there is no answer at all
          const told = lines.filter((line) => line.includes("heartbeat"))
          assert.lengthOf(told, 2)
          assert.include(told[0], "the service failed; asking again. session_heartbeat (session s1): 500")
          assert.include(told[1], "the server does not answer; asking again, for 2m at most")
          const state = yield* service.sessionState
          assert.strictEqual(state._tag, "Degraded")
          if (state._tag === "Degraded") assert.strictEqual(state.failures, 11)
          yield* TestClock.adjust("1 second")
          const reminded = () =>
            lines.filter((line) => line.startsWith("INFO") && line.includes("no heartbeat has been answered"))
          assert.lengthOf(reminded(), 1)
          yield* TestClock.adjust("119 seconds")
          assert.lengthOf(reminded(), 1)
          assert.lengthOf(lines.filter((line) => line.startsWith("WARN") && line.includes("s1")), 2)
          down = false
          yield* TestClock.adjust("11 seconds")
          assert.strictEqual((yield* service.sessionState)._tag, "Live")
        }).pipe(Effect.provide(layer))
        const recovered = events.find((event) => event._tag === "SessionRecovered")
        assert.strictEqual(recovered?._tag === "SessionRecovered" && recovered.failures, 23)
        const failed = events.filter((event) => event._tag === "SessionHeartbeatFailed")
        assert.lengthOf(failed, 23)
      }))

    test("are not repeated and have ten seconds", (fake) =>
      Effect.gen(function*() {
        fake.on("session_heartbeat", () => Effect.never)
        yield* opened()
        yield* TestClock.adjust("19 seconds")
        assert.strictEqual(fake.inFlight, 1)
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(fake.inFlight, 0)
        assert.lengthOf(fake.of("session_heartbeat"), 1)
        assert.strictEqual(fake.of("session_heartbeat")[0]!.headers["x-stainless-read-timeout"], "10")
      }))

    test("end with a 410, and so does the session", (fake) =>
      Effect.gen(function*() {
        fake.on("session_heartbeat", () => ({ status: 410, json: { detail: "finished" } }))
        const { service } = yield* opened()
        yield* TestClock.adjust("1 minute")
        assert.lengthOf(fake.of("session_heartbeat"), 1)
        assert.strictEqual((yield* service.sessionState)._tag, "Ended")
        const error = yield* Effect.flip(Effect.scoped(service.createSamplingClient({ baseModel: "m" })))
        assert.strictEqual(error._tag, "ClientClosed")
      }))

    test("can be watched", (fake) =>
      Effect.gen(function*() {
        fake.on("session_heartbeat", (_, n) => n === 0 ? { status: 500 } : undefined)
        const { service } = yield* opened()
        const seen = yield* Effect.fork(Stream.runCollect(Stream.take(service.sessionChanges, 3)))
        yield* settle
        yield* TestClock.adjust("30 seconds")
        const states = Array.from(yield* Fiber.join(seen), (state) => state._tag)
        assert.deepStrictEqual(states, ["Live", "Degraded", "Live"])
      }))
  })

  describe("closing", () => {
    const ends: ReadonlyArray<readonly [string, Exit.Exit<unknown, unknown>]> = [
      ["success", Exit.void],
      ["errored", Exit.fail("x")],
      ["interrupted", Exit.interrupt(FiberId.none)]
    ]
    for (const [reason, exit] of ends) {
      test(`tells the service: ${reason}`, (fake) =>
        Effect.gen(function*() {
          const { close } = yield* opened()
          yield* close(exit)
          const [call] = fake.of("finish")
          assert.include(call!.url, "/api/v1/sessions/s1/finish")
          assert.deepStrictEqual(call!.body, { reason: { type: reason }, detail: null })
        }))
    }

    test("tells it also when the program is interrupted", (fake) =>
      Effect.gen(function*() {
        const program = yield* Effect.fork(Effect.scoped(Effect.zipRight(serviceOf(), Effect.never)))
        yield* settle
        yield* Fiber.interrupt(program)
        assert.deepStrictEqual(fake.of("finish")[0]!.body["reason"], { type: "interrupted" })
      }))

    test("does not fail or hang when the service does", (fake) =>
      Effect.gen(function*() {
        fake.on("finish", () => ({ status: 500 }))
        const first = yield* opened()
        yield* first.close(Exit.void)
        fake.on("finish", () => Effect.never)
        const second = yield* opened()
        const closing = yield* Effect.fork(second.close(Exit.void))
        yield* TestClock.adjust("4 seconds")
        assert.isTrue(Option.isSome(yield* Fiber.poll(closing)))
        assert.strictEqual(fake.inFlight, 0)
      }))
  })

  describe("models", () => {
    test("are asked for with their settings and the next number", (fake) =>
      Effect.gen(function*() {
        const service = yield* serviceOf()
        const first = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano" })
        const second = yield* service.createLoraTrainingClient({
          baseModel: "tinkex/nano",
          rank: 8,
          seed: 7,
          trainMlp: false,
          userMetadata: { a: [1] }
        })
        assert.deepStrictEqual([first.modelId, second.modelId], ["s1:train:0", "s1:train:1"])
        const [a, b] = fake.of("create_model")
        assert.deepStrictEqual(a!.body, {
          session_id: "s1",
          model_seq_id: 0,
          base_model: "tinkex/nano",
          lora_config: { rank: 32, train_unembed: true, train_mlp: true, train_attn: true },
          optimizer_config: { type: "adamw" },
          type: "create_model"
        })
        assert.deepStrictEqual(b!.body["lora_config"], {
          rank: 8,
          seed: 7,
          train_unembed: true,
          train_mlp: false,
          train_attn: true
        })
        assert.deepStrictEqual(b!.body["user_metadata"], { a: [1] })
        const [polled] = fake.of("retrieve_future")
        assert.strictEqual(polled!.headers["x-tinker-request-type"], "CreateModel")
      }))

    test("bad settings are refused before anything is sent", (fake) =>
      Effect.gen(function*() {
        const service = yield* serviceOf()
        const before = fake.calls.length
        const cases: ReadonlyArray<readonly [ServiceClient.LoraOptions, string]> = [
          [{ baseModel: " " }, "baseModel"],
          [{ baseModel: "m", rank: 0 }, "rank"],
          [{ baseModel: "m", rank: 1.5 }, "rank"],
          [{ baseModel: "m", seed: 0.5 }, "seed"],
          [{ baseModel: "m", trainAttn: false, trainMlp: false, trainUnembed: false }, "trainMlp"]
        ]
        for (const [options, field] of cases) {
          const error = yield* Effect.flip(service.createLoraTrainingClient(options))
          assert.strictEqual(error._tag, "InvalidInput")
          assert.include(error.message, field)
        }
        for (const options of [{ baseModel: "" }, { modelPath: "http://x" }, {} as { baseModel: string }]) {
          const error = yield* Effect.flip(service.createSamplingClient(options))
          assert.strictEqual(error._tag, "InvalidInput")
        }
        const path = yield* Effect.flip(service.createTrainingClientFromState("weights/x"))
        assert.strictEqual(path._tag, "InvalidInput")
        assert.lengthOf(fake.calls, before)
      }))

    test("an unknown model is the service's own words", (fake) =>
      Effect.gen(function*() {
        fake.on("create_model", () => fake.accept({ json: { error: "unknown model nope", category: "user" } }))
        const service = yield* serviceOf()
        const error = yield* Effect.flip(service.createLoraTrainingClient({ baseModel: "nope" }))
        assert.strictEqual(error._tag, "RequestFailed")
        assert.include(error.message, "unknown model nope")
      }))

    test("a number that certainly never left is used again, any other is not", (fake) =>
      Effect.gen(function*() {
        const service = yield* serviceOf({ retry: { times: 0 } })
        const numbers = () => fake.of("create_model").map((call) => call.body["model_seq_id"])
        const replies: ReadonlyArray<Reply> = [{ code: "ECONNREFUSED" }, { status: 400, json: { detail: "x" } }]
        fake.on("create_model", (_, n) => replies[n])
        for (const _ of replies) yield* Effect.flip(service.createLoraTrainingClient({ baseModel: "m" }))
        yield* service.createLoraTrainingClient({ baseModel: "m" })
        assert.deepStrictEqual(numbers(), [0, 0, 1])
      }))

    it("numbers are given back only while no later one is out", () => {
      const counter = makeCounter(3)
      assert.deepStrictEqual([counter.take(), counter.take()], [3, 4])
      counter.giveBack(3)
      assert.strictEqual(counter.current, 5)
      counter.giveBack(4)
      assert.strictEqual(counter.take(), 4)
    })
  })

  describe("from a checkpoint", () => {
    const path = "tinker://run:train:0/weights/ck"

    test("reads what it is, makes the model and loads it, with or without the optimiser", (fake) =>
      Effect.gen(function*() {
        const service = yield* serviceOf()
        const training = yield* service.createTrainingClientFromState(path, { userMetadata: { a: 1 } })
        const token = Redacted.make("tml-owner")
        yield* service.createTrainingClientFromStateWithOptimizer(path, {
          baseModel: "other",
          weightsAccessToken: token
        })
        const [info, infoOfOther] = fake.of("weights_info")
        assert.deepStrictEqual(info!.body, { tinker_path: path })
        assert.strictEqual(infoOfOther!.headers["x-api-key"], "tml-owner")
        const [model, other] = fake.of("create_model")
        assert.deepStrictEqual(model!.body["lora_config"], {
          rank: 8,
          train_mlp: false,
          train_attn: true,
          train_unembed: true
        })
        assert.deepStrictEqual(model!.body["user_metadata"], { a: 1 })
        assert.strictEqual(other!.body["base_model"], "other")
        const loads = fake.of("load_weights").map((call) => call.body)
        assert.deepStrictEqual(loads, [
          { model_id: "s1:train:0", seq_id: 1, path, optimizer: false, type: "load_weights" },
          {
            model_id: "s1:train:1",
            seq_id: 1,
            path,
            optimizer: true,
            weights_access_token: "tml-owner",
            type: "load_weights"
          }
        ])
        yield* training.optimStep()
        assert.strictEqual(fake.of("optim_step")[0]!.body["seq_id"], 2)
      }))

    test("in one request where the service says so; the first operation is then number 1", (fake) =>
      Effect.gen(function*() {
        fake.on("client/config", () => ({ json: { create_model_via_load_weights: true } }))
        fake.on("load_weights", () => fake.accept({ json: { path } }))
        const service = yield* serviceOf()
        const training = yield* service.createTrainingClientFromState(path, { baseModel: "b", userMetadata: {} })
        assert.deepStrictEqual(fake.of("load_weights")[0]!.body, {
          session_id: "s1",
          model_seq_id: 0,
          base_model: "b",
          user_metadata: {},
          path,
          optimizer: false,
          type: "load_weights"
        })
        assert.strictEqual(training.modelId, "s1:train:0")
        assert.lengthOf(fake.of("create_model"), 0)
        yield* training.optimStep()
        assert.strictEqual(fake.of("optim_step")[0]!.body["seq_id"], 1)
      }))

    test("what is not a LoRA adapter is refused, and no model is made of it", (fake) =>
      Effect.gen(function*() {
        fake.on("weights_info", () => ({ json: { base_model: "m", is_lora: false } }))
        const service = yield* serviceOf()
        const error = yield* Effect.flip(service.createTrainingClientFromState(path))
        assert.strictEqual(error._tag, "InvalidInput")
        assert.lengthOf(fake.of("create_model"), 0)
      }))
  })

  describe("tokens instead of keys", () => {
    const exchange = (fake: Fake, tokens: ReadonlyArray<string | Reply>) => {
      fake.on("client/config", () => ({ json: { pjwt_auth_enabled: true } }))
      fake.on("auth/token", (_, n) => {
        const token = tokens[Math.min(n, tokens.length - 1)]!
        return typeof token === "string" ? { json: { jwt: token } } : token
      })
    }

    test("the key is exchanged once, and only the token travels on", (fake) =>
      Effect.gen(function*() {
        const token = jwt(100_000)
        exchange(fake, [token])
        yield* serviceOf()
        const [config, auth, ...rest] = fake.calls
        assert.deepStrictEqual([config!.headers["x-api-key"], auth!.headers["x-api-key"]], ["tml-secret", "tml-secret"])
        for (const call of rest) assert.strictEqual(call.headers["x-api-key"], token)
      }))

    test("is renewed five minutes before it ends, in the background", (fake) =>
      Effect.gen(function*() {
        exchange(fake, [jwt(1000), jwt(5000)])
        const service = yield* serviceOf()
        yield* TestClock.adjust("699 seconds")
        assert.lengthOf(fake.of("auth/token"), 1)
        yield* TestClock.adjust("2 seconds")
        assert.lengthOf(fake.of("auth/token"), 2)
        yield* service.serverCapabilities
        assert.strictEqual(fake.of("get_server_capabilities")[0]!.headers["x-api-key"], jwt(5000))
      }))

    test("a failing renewal is tried again a minute later; near the end the old one is sent", (fake) =>
      Effect.gen(function*() {
        exchange(fake, [jwt(400), { status: 401, json: { detail: "no" } }])
        const service = yield* serviceOf()
        yield* TestClock.adjust("101 seconds")
        assert.lengthOf(fake.of("auth/token"), 2)
        yield* TestClock.adjust("60 seconds")
        assert.lengthOf(fake.of("auth/token"), 3)
        yield* TestClock.adjust("200 seconds")
        const before = fake.of("auth/token").length
        yield* service.serverCapabilities
        assert.lengthOf(fake.of("auth/token"), before + 1)
        assert.strictEqual(fake.of("get_server_capabilities")[0]!.headers["x-api-key"], jwt(400))
      }))

    test("many calls near the end share one renewal, which goes on when one of them goes away", (fake) =>
      Effect.gen(function*() {
        const go = Deferred.unsafeMake<Reply>(FiberId.none)
        fake.on("client/config", () => ({ json: { pjwt_auth_enabled: true } }))
        fake.on("auth/token", (_, n) => n === 0 ? { json: { jwt: jwt(30) } } : Deferred.await(go))
        const opening = yield* Effect.fork(serviceOf())
        yield* settle
        const go2 = yield* Effect.fork(Effect.void)
        yield* Fiber.join(go2)
        // the token has 30 s left: the very next call asks for another
        assert.lengthOf(fake.of("auth/token"), 2)
        yield* Deferred.succeed(go, { json: { jwt: jwt(9000) } })
        const service = yield* Fiber.join(opening)
        yield* Effect.all([service.serverCapabilities, service.serverCapabilities], { concurrency: 2 })
        assert.lengthOf(fake.of("auth/token"), 2)
        for (const call of fake.of("get_server_capabilities")) {
          assert.strictEqual(call.headers["x-api-key"], jwt(9000))
        }
      }))

    test("one whose end cannot be read is renewed for every call and every minute", (fake) =>
      Effect.gen(function*() {
        exchange(fake, ["not a token"])
        const service = yield* serviceOf()
        const before = fake.of("auth/token").length
        yield* service.serverCapabilities
        assert.isAbove(fake.of("auth/token").length, before)
        const then = fake.of("auth/token").length
        fake.on("session_heartbeat", () => Effect.never)
        yield* TestClock.adjust("9 seconds")
        assert.lengthOf(fake.of("auth/token"), then)
      }))
  })

  test("flags that may change are asked for again; what fails leaves them as they were", (fake) =>
    Effect.gen(function*() {
      fake.on(
        "client/dynamic_config",
        (_, n) =>
          n === 0
            ? { json: { refresh_interval_sec: 20 } }
            : n === 1
            ? { status: 400, json: {} }
            : { json: { refresh_interval_sec: 1 } }
      )
      yield* serviceOf()
      yield* TestClock.adjust("41 seconds")
      assert.lengthOf(fake.of("client/dynamic_config"), 3)
      yield* TestClock.adjust("10 seconds")
      assert.lengthOf(fake.of("client/dynamic_config"), 4)
    }))

  test("says what the service offers, and finds tokenizers", () =>
    Effect.gen(function*() {
      const service = yield* serviceOf()
      const { supportedModels } = yield* service.serverCapabilities
      assert.strictEqual(supportedModels[0]!.modelName, "tinkex/nano")
      const tokenizer = yield* service.tokenizer("tinkex/nano")
      assert.strictEqual(tokenizer.decode(tokenizer.encode("hi")), "hi")
      assert.strictEqual(yield* service.tokenizer({ modelName: "x", tokenizerId: "tinkex/nano" }), tokenizer)
    }))

  test("session events tell opening and closing", () =>
    Effect.gen(function*() {
      const events = yield* recordEvents
      const { close } = yield* opened()
      yield* TestClock.adjust("15 seconds")
      yield* close(Exit.void)
      const told = events.flatMap((event) => event._tag.startsWith("Session") ? [event._tag] : [])
      assert.deepStrictEqual(told, ["SessionStart", "SessionHeartbeat", "SessionEnd"])
    }))
})
