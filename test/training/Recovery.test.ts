import { assert, describe, it } from "@effect/vitest"
import { Chunk, DateTime, Deferred, Duration, Effect, Exit, Fiber, Layer, Ref, Scope, Stream, TestClock } from "effect"
import * as Future from "../../src/client/Future.js"
import * as RestClient from "../../src/client/RestClient.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import type * as TrainingClient from "../../src/client/TrainingClient.js"
import * as Datum from "../../src/protocol/Datum.js"
import { type Fault, FaultInjector } from "../../src/server/FaultInjector.js"
import { TestServer } from "../../src/testing/index.js"
import { NotFound, PermissionDenied, ServerError } from "../../src/TinkexError.js"
import * as Recovery from "../../src/training/Recovery.js"

const checkpoint = (run: string, name: string, minute: number, type = "training") => ({
  checkpointId: `weights/${name}`,
  checkpointType: type,
  time: DateTime.unsafeMake(minute * 60_000),
  tinkerPath: `tinker://${run}/${type === "training" ? "weights" : "sampler_weights"}/${name}`,
  public: false
})

const clientOf = (modelId: string) => ({ modelId }) as unknown as TrainingClient.Client

/** A service whose runs break on request, and whose checkpoints load or do not. */
const makeWorld = () => {
  const corrupted = new Set<string>()
  const saved = new Map<string, ReadonlyArray<ReturnType<typeof checkpoint>>>()
  const loads: Array<{ readonly path: string; readonly optimizer: boolean }> = []
  const closed: Array<string> = []
  const world = {
    corrupted,
    saved,
    loads,
    closed,
    polls: 0,
    load: (_path: string): Effect.Effect<void, NotFound | PermissionDenied | ServerError> => Effect.void,
    poll: Effect.void as Effect.Effect<void, ServerError>
  }
  const restore = (optimizer: boolean) => (path: string) =>
    Effect.suspend(() => {
      loads.push({ path, optimizer })
      const id = `new${loads.length}`
      return Effect.zipRight(
        world.load(path),
        Effect.acquireRelease(Effect.sync(() => clientOf(id)), () => Effect.sync(() => closed.push(id)))
      )
    })
  const layer = Layer.merge(
    // what a recovery calls of the two
    Layer.succeed(ServiceClient.ServiceClient, {
      createTrainingClientFromState: restore(false),
      createTrainingClientFromStateWithOptimizer: restore(true)
    } as unknown as ServiceClient.Client),
    Layer.succeed(RestClient.RestClient, {
      getTrainingRun: (id: string) =>
        Effect.zipRight(
          Effect.sync(() => {
            world.polls++
          }),
          Effect.map(world.poll, () => ({ corrupted: corrupted.has(id) }))
        ),
      listCheckpoints: (id: string) => Stream.fromIterable(saved.get(id) ?? [])
    } as unknown as RestClient.Client)
  )
  return Object.assign(world, { layer })
}

const down = new ServerError({ operation: "x", status: 500, detail: "" })
const gone = new NotFound({ operation: "x", status: 404, detail: "" })
const lostSession = new PermissionDenied({ operation: "x", status: 403, detail: "Invalid session_id" })

const watching = (policy?: Recovery.Policy) =>
  Effect.gen(function*() {
    const recovery = yield* Recovery.make(clientOf("run"), policy)
    const seen = yield* Ref.make<ReadonlyArray<Recovery.RecoveryEvent>>([])
    const events = yield* recovery.events
    yield* Effect.forkScoped(Stream.runForEach(events, (event) => Ref.update(seen, (all) => [...all, event])))
    return { recovery, tags: Effect.map(Ref.get(seen), (all) => all.map((event) => event._tag)), events: Ref.get(seen) }
  })

const settle = Effect.repeatN(Effect.yieldNow(), 50)
const pass = (duration: Duration.DurationInput) => Effect.zipRight(TestClock.adjust(duration), settle)

const test = (
  name: string,
  body: (world: ReturnType<typeof makeWorld>) => Effect.Effect<
    void,
    unknown,
    ServiceClient.ServiceClient | RestClient.RestClient | Scope.Scope
  >
) =>
  it.scoped(name, () => {
    const world = makeWorld()
    return Effect.provide(body(world), world.layer)
  })

describe("Recovery", () => {
  test("looks at the run now and then, and goes back to the newest training checkpoint", (world) =>
    Effect.gen(function*() {
      world.saved.set("run", [
        checkpoint("run", "old", 1),
        checkpoint("run", "new", 5),
        checkpoint("run", "middle", 3),
        checkpoint("run", "sampler", 9, "sampler")
      ])
      const { events, recovery } = yield* watching({ pollInterval: "10 seconds" })
      yield* pass("29 seconds")
      assert.strictEqual(world.polls, 2)
      assert.deepStrictEqual(yield* events, [])
      world.corrupted.add("run")
      yield* pass("1 second")
      assert.deepStrictEqual(world.loads, [{ path: "tinker://run/weights/new", optimizer: true }])
      const { client, generation, restoredFrom } = yield* recovery.current
      assert.deepStrictEqual([client.modelId, generation, restoredFrom], ["new1", 1, "tinker://run/weights/new"])
      assert.deepStrictEqual(yield* events, [
        { _tag: "Detected", runId: "run" },
        { _tag: "Started", runId: "run", attempt: 1 },
        { _tag: "CheckpointSelected", runId: "run", attempt: 1, path: "tinker://run/weights/new" },
        { _tag: "ClientCreated", runId: "run", attempt: 1, newRunId: "new1" },
        { _tag: "Completed", runId: "run", newRunId: "new1", path: "tinker://run/weights/new" }
      ])
    }))

  test("waits longer and longer between attempts, and gives up after the last", (world) =>
    Effect.gen(function*() {
      world.saved.set("run", [checkpoint("run", "a", 1)])
      world.corrupted.add("run")
      world.load = () => Effect.fail(down)
      const { events, recovery, tags } = yield* watching({ maxAttempts: 5, backoffCap: "15 seconds" })
      const fiber = yield* Effect.fork(recovery.check)
      const starts: Array<number> = []
      for (const seconds of [0, 4, 1, 9, 1, 14, 1, 14, 1]) {
        yield* pass(Duration.seconds(seconds))
        starts.push(world.loads.length)
      }
      // after 5, 10, 15 and 15 s
      assert.deepStrictEqual(starts, [1, 1, 2, 2, 3, 3, 4, 4, 5])
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.deepStrictEqual([error.reason, error.attempts, error.cause], ["Exhausted", 5, down])
      assert.deepStrictEqual((yield* events).at(-1), { _tag: "Exhausted", runId: "run", attempts: 5 })
      assert.strictEqual((yield* tags).filter((tag) => tag === "Failed").length, 5)
      assert.strictEqual((yield* Effect.flip(recovery.current)).reason, "Exhausted")
      assert.strictEqual((yield* Effect.flip(recovery.check)).reason, "Exhausted")
      const polls = world.polls
      yield* pass("10 minutes")
      assert.strictEqual(world.polls, polls)
    }))

  test("a checkpoint that two sessions are refused is passed over for the one before it", (world) =>
    Effect.gen(function*() {
      world.saved.set("run", [checkpoint("run", "a", 1), checkpoint("run", "b", 2)])
      world.corrupted.add("run")
      world.load = (path) => path.endsWith("/b") ? Effect.fail(gone) : Effect.void
      const { recovery } = yield* watching()
      const fiber = yield* Effect.fork(recovery.check)
      yield* pass("5 seconds")
      yield* pass("10 seconds")
      assert.isTrue(yield* Fiber.join(fiber))
      assert.strictEqual((yield* recovery.current).restoredFrom, "tinker://run/weights/a")
      assert.deepStrictEqual(world.loads.map(({ path }) => path.at(-1)), ["b", "b", "a"])
    }))

  test("a session that the service has lost says nothing of the checkpoint", (world) =>
    Effect.gen(function*() {
      world.saved.set("run", [checkpoint("run", "a", 1)])
      world.corrupted.add("run")
      world.load = () => world.loads.length === 1 ? Effect.fail(lostSession) : Effect.void
      const { recovery } = yield* watching()
      const fiber = yield* Effect.fork(recovery.check)
      yield* pass("5 seconds")
      assert.isTrue(yield* Fiber.join(fiber))
      assert.strictEqual((yield* recovery.current).restoredFrom, "tinker://run/weights/a")
    }))

  test("without a checkpoint there is nothing to go back to", (world) =>
    Effect.gen(function*() {
      world.corrupted.add("run")
      const { recovery, tags } = yield* watching()
      const error = yield* Effect.flip(recovery.check)
      assert.strictEqual(error.reason, "NoCheckpoint")
      assert.include(error.message, "Save its state now and then")
      yield* settle
      assert.deepStrictEqual(yield* tags, ["Detected", "Started"])
    }))

  test("a restored run that breaks in its turn goes back to the runs before it, and its client is closed", (world) =>
    Effect.gen(function*() {
      world.saved.set("run", [checkpoint("run", "a", 1)])
      world.corrupted.add("run").add("new1")
      const { recovery } = yield* watching()
      assert.isTrue(yield* recovery.check)
      assert.isTrue(yield* recovery.check)
      const second = yield* recovery.current
      assert.deepStrictEqual([second.client.modelId, second.restoredFrom], ["new2", "tinker://run/weights/a"])
      assert.deepStrictEqual(world.closed, ["new1"])
      world.saved.set("new2", [checkpoint("new2", "b", 2)])
      world.corrupted.add("new2")
      assert.isTrue(yield* recovery.check)
      assert.strictEqual((yield* recovery.current).restoredFrom, "tinker://new2/weights/b")
      assert.isFalse(yield* recovery.check)
    }))

  test("a given checkpoint, and a fresh optimiser, where the policy says so", (world) =>
    Effect.gen(function*() {
      world.corrupted.add("run")
      const { recovery } = yield* watching({ checkpoint: { path: "tinker://r/weights/best" }, restoreOptimizer: false })
      yield* recovery.check
      assert.deepStrictEqual(world.loads, [{ path: "tinker://r/weights/best", optimizer: false }])
    }))

  test("one at a time: those who ask meanwhile get its answer, and one who goes away does not stop it", (world) =>
    Effect.gen(function*() {
      world.saved.set("run", [checkpoint("run", "a", 1)])
      world.corrupted.add("run")
      const go = yield* Deferred.make<void>()
      world.load = () => Deferred.await(go)
      const { recovery } = yield* watching()
      const first = yield* Effect.fork(recovery.check)
      yield* settle
      const others = yield* Effect.forEach([1, 2, 3], () => Effect.fork(recovery.check))
      const current = yield* Effect.fork(recovery.current)
      yield* settle
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(go, undefined)
      for (const other of others) assert.isTrue(yield* Fiber.join(other))
      assert.strictEqual((yield* Fiber.join(current)).client.modelId, "new1")
      assert.lengthOf(world.loads, 1)
    }))

  test("a run that cannot be looked at is looked at again", (world) =>
    Effect.gen(function*() {
      world.poll = Effect.fail(down)
      const { events, recovery } = yield* watching({ pollInterval: "1 second" })
      yield* pass("2 seconds")
      assert.deepStrictEqual(yield* events, [
        { _tag: "PollError", runId: "run", error: down },
        { _tag: "PollError", runId: "run", error: down }
      ])
      assert.strictEqual((yield* recovery.current).generation, 0)
    }))

  test("a program is interrupted when its run breaks, and started on the restored one", (world) =>
    Effect.gen(function*() {
      world.saved.set("run", [checkpoint("run", "a", 1)])
      const { recovery } = yield* watching({ pollInterval: "1 second" })
      const log: Array<string> = []
      const fiber = yield* Effect.fork(recovery.use(({ client, restoredFrom }) =>
        restoredFrom === undefined
          ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push(`interrupted on ${client.modelId}`)))
          : Effect.succeed(`done on ${client.modelId} from ${restoredFrom}`)
      ))
      yield* pass("3 seconds")
      assert.deepStrictEqual(log, [])
      world.corrupted.add("run")
      yield* pass("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), "done on new1 from tinker://run/weights/a")
      assert.deepStrictEqual(log, ["interrupted on run"])
    }))

  test("a program that fails is started again only if its run is corrupted", (world) =>
    Effect.gen(function*() {
      world.saved.set("run", [checkpoint("run", "a", 1)])
      const { recovery } = yield* watching()
      let runs = 0
      const fails = recovery.use(({ generation }) =>
        Effect.suspend(() => (runs++, generation === 0 ? Effect.fail("mine") : Effect.succeed("restored")))
      )
      assert.strictEqual(yield* Effect.flip(fails), "mine")
      assert.strictEqual(runs, 1)
      world.corrupted.add("run")
      assert.strictEqual(yield* fails, "restored")
      assert.strictEqual(runs, 3)
    }))

  test("refuses a policy that cannot be right", () =>
    Effect.gen(function*() {
      const bad: ReadonlyArray<Recovery.Policy> = [
        { maxAttempts: 0 },
        { maxAttempts: 1.5 },
        { pollInterval: 0 },
        { checkpoint: { path: "nowhere" } },
        { checkpoint: { path: "tinker://r/sampler_weights/a" } }
      ]
      for (const policy of bad) {
        assert.strictEqual((yield* Effect.flip(Recovery.make(clientOf("run"), policy)))._tag, "InvalidInput")
      }
    }))

  it.effect("nothing goes on after its scope", () => {
    const world = makeWorld()
    return Effect.gen(function*() {
      world.saved.set("run", [checkpoint("run", "a", 1)])
      world.corrupted.add("run")
      const scope = yield* Scope.make()
      const recovery = yield* Scope.extend(Recovery.make(clientOf("run"), { pollInterval: "1 second" }), scope)
      yield* recovery.check
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(world.closed, ["new1"])
      const { polls } = world
      yield* pass("1 minute")
      assert.strictEqual(world.polls, polls)
    }).pipe(Effect.provide(world.layer))
  })
})

describe("Recovery and the embedded server", () => {
  const data = [Datum.fromCompletion([10, 20], [30, 40, 50]), Datum.fromCompletion([11], [31, 41])]
  const step = (client: TrainingClient.Client) =>
    Effect.gen(function*() {
      const pass = yield* client.forwardBackward(data, "cross_entropy")
      const update = yield* client.optimStep({ learningRate: 1e-2 })
      yield* Future.await(update)
      return (yield* Future.await(pass)).metrics["loss:sum"]
    })

  it.scopedLive("a run whose corruption is injected is restored, and trains on as if nothing had been", () => {
    const corrupted = new Set<string>()
    const answer = (id: string): Fault => ({
      _tag: "Respond",
      status: 200,
      body: {
        training_run_id: id,
        base_model: "tinkex/nano-random",
        model_owner: "local",
        is_lora: true,
        corrupted: true,
        last_request_time: "2026-01-01T00:00:00Z"
      }
    })
    const faults = Layer.succeed(FaultInjector, ({ path, phase }) => {
      const id = /\/training_runs\/([^/]+)$/.exec(path ?? "")?.[1] ?? ""
      return Effect.succeed(phase === "request" && corrupted.has(id) ? [answer(id)] : [])
    })
    return Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      const options = { baseModel: "tinkex/nano-random", rank: 4, seed: 1 }
      // what it should be: ten steps without a break
      const whole = yield* service.createLoraTrainingClient(options)
      const expected: Array<number | undefined> = []
      for (let i = 0; i < 10; i++) expected.push(yield* step(whole))

      const broken = yield* service.createLoraTrainingClient(options)
      const recovery = yield* Recovery.make(broken, { pollInterval: "1 hour", backoff: "1 millis" })
      const events = yield* recovery.events
      const losses: Array<number | undefined> = []
      yield* recovery.use(({ client, restoredFrom }) =>
        Effect.gen(function*() {
          losses.length = restoredFrom === undefined ? 0 : Number(restoredFrom.split("-").at(-1))
          while (losses.length < 10) {
            losses.push(yield* step(client))
            if (losses.length % 3 === 0) {
              yield* Effect.flatMap(client.saveState(`step-${losses.length}`), Future.await)
            }
            // corrupted after its eighth step: the steps after the sixth are lost
            if (losses.length === 8 && restoredFrom === undefined) {
              corrupted.add(client.modelId)
              losses[7] = Number.NaN
              return yield* Effect.fail("the run does not answer" as const)
            }
          }
        })
      )
      assert.deepStrictEqual(losses, expected)
      const { client, restoredFrom } = yield* recovery.current
      assert.strictEqual(restoredFrom, `tinker://${broken.modelId}/weights/step-6`)
      assert.notStrictEqual(client.modelId, broken.modelId)
      const tags = yield* events.pipe(Stream.take(5), Stream.map((event) => event._tag), Stream.runCollect)
      assert.deepStrictEqual(Chunk.toReadonlyArray(tags), [
        "Detected",
        "Started",
        "CheckpointSelected",
        "ClientCreated",
        "Completed"
      ])
      // the weights themselves: the next loss of both
      assert.strictEqual(yield* step(client), yield* step(whole))
    }).pipe(Effect.provide(Layer.provideMerge(
      RestClient.layer,
      Layer.provide(TestServer.layer(), faults)
    )))
  })
})
