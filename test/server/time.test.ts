import { assert, describe, it } from "@effect/vitest"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { judging } from "../../src/server/time.js"
import * as Harness from "./fixtures/harness.js"

const room = fileURLToPath(new URL("../../src/server", import.meta.url))

/** The test's clock, with hands that can be moved while no timer runs. */
const movable = Effect.map(Effect.clock, (clock) => {
  const moved = { wall: 0, monotonic: 0 }
  const millis = () => clock.unsafeCurrentTimeMillis() + moved.wall
  const nanos = () => clock.unsafeCurrentTimeNanos() + BigInt(moved.monotonic) * 1_000_000n
  // everything else, as `adjust`, is the test clock's own
  const hands: Clock.Clock = Object.assign(Object.create(clock), {
    unsafeCurrentTimeMillis: millis,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanos: Effect.sync(nanos)
  })
  return { moved, hands }
})

const years = Duration.toMillis("3650 days")

/** A server with a session, a run, a result, a checkpoint that has a time to live, and a link. */
const busy = Effect.gen(function*() {
  const h = yield* Harness.make()
  const model = yield* h.model
  const session = model.split(":")[0]!
  const pass = yield* h.forwardBackward(model, 1, [Harness.datum(2)])
  const save = yield* h.post("/save_weights", { model_id: model, seq_id: 2, path: "a", ttl_seconds: 3600 })
  yield* h.retrieve(save.body.request_id)
  const archive = yield* h.get(`/training_runs/${model}/checkpoints/weights/a/archive`)
  const link = archive.headers.get("location")!
  const { body: { jwt } } = yield* h.post("/auth/token", {})
  let seqId = 3
  return {
    h,
    jwt: jwt as string,
    session,
    /** Everything that is still there. */
    there: Effect.gen(function*() {
      const found: Array<string> = []
      const note = (name: string, good: boolean) => good && found.push(name)
      const heartbeat = yield* h.post("/session_heartbeat", { session_id: session })
      note("session", heartbeat.status === 200)
      note("run", (yield* h.optimStep(model, seqId++)).status === 202)
      note("result", (yield* h.retrieve(pass.body.request_id)).status === 200)
      note("checkpoint", (yield* h.get("/checkpoints")).body.checkpoints.length === 1)
      note("link", (yield* h.request("GET", `/../..${new URL(link).pathname}`)).status === 200)
      return found
    })
  }
})

const everything = ["session", "run", "result", "checkpoint", "link"]

describe("time", () => {
  it("is asked of one module, and the clock of the machine only for what is told", () => {
    const clocks = /\bClock\b|Date\.now|new Date\(\)|performance\.now|hrtime|Effect\.clock|unsafeCurrentTime/
    const files = readdirSync(room, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"))
    assert.isAbove(files.length, 40)
    const text = (name: string) => readFileSync(join(room, name), "utf8")
    assert.deepStrictEqual(files.filter((name) => clocks.test(text(name))), ["time.ts"])
    const told = files.filter((name) => /import \{[^}]*\bwall\b[^}]*\} from "[./]*time\.js"/.test(text(name)))
    assert.deepStrictEqual(told.sort(), [
      "checkpoints/disk.ts", // names of drafts
      "checkpoints/writing.ts", // when one was made, and from when its time to live counts
      "http/tokens.ts", // until when a link is said to hold
      "routes/checkpoints.ts", // from when a time to live counts
      "routes/organisation.ts", // when a copied run was made
      "runs/Runs.ts", // when a run was made and last asked
      "runs/planRun.ts", // when a run was made, in its record
      "sessions/Sessions.ts" // when a session was made
    ])
  })

  for (const [name, jump] of [["ahead", years], ["back", -years]] as const) {
    it.scoped(`lets nothing go when the clock jumps ${name}`, () =>
      Effect.gen(function*() {
        const { hands, moved } = yield* movable
        yield* Effect.gen(function*() {
          const { h, jwt, there } = yield* busy
          moved.wall = jump
          // every sweep has its turn
          yield* TestClock.adjust("2 minutes")
          assert.deepStrictEqual(yield* there, everything)
          const guarded = yield* h.post("/session_heartbeat", {}, { "x-api-key": jwt })
          assert.notStrictEqual(guarded.status, 401)
        }).pipe(Effect.withClock(hands))
      }))
  }

  it.scoped("counts no time in which the server itself was not there", () =>
    Effect.gen(function*() {
      const { hands, moved } = yield* movable
      yield* Effect.gen(function*() {
        const { h, session, there } = yield* busy
        yield* TestClock.adjust("29 seconds")
        // an hour passes and no timer runs: the lid was closed, or the thread blocked
        moved.wall = moved.monotonic = Duration.toMillis("58 minutes")
        yield* TestClock.adjust("31 seconds")
        assert.deepStrictEqual(yield* there, everything)
        // who is then silent for as long as it may be is given up
        yield* TestClock.adjust("331 seconds")
        assert.strictEqual((yield* h.post("/session_heartbeat", { session_id: session })).status, 404)
      }).pipe(Effect.withClock(hands))
    }))

  it.scoped("judges in turns, and not in the first after an absence", () =>
    Effect.gen(function*() {
      const { hands, moved } = yield* movable
      yield* Effect.gen(function*() {
        const judged: Array<number> = []
        const now = yield* judging(Duration.seconds(10), (now) => Effect.sync(() => judged.push(now)))
        const start = yield* now
        yield* TestClock.adjust("20 seconds")
        moved.monotonic = 100_000
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* now) - start, 20_000)
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(judged.map((_) => _ - start), [10_000, 20_000, 30_000])
      }).pipe(Effect.withClock(hands))
    }))

  it.scoped("waits for an absent seq_id again when the server was away itself", () =>
    Effect.gen(function*() {
      const { hands, moved } = yield* movable
      yield* Effect.gen(function*() {
        const h = yield* Harness.make()
        const model = yield* h.model
        const second = yield* h.optimStep(model, 2)
        yield* TestClock.adjust("4999 millis")
        moved.monotonic = 60_000
        yield* TestClock.adjust("2 millis")
        // its request was on the way all the time
        const first = yield* h.optimStep(model, 1)
        assert.strictEqual(first.status, 202)
        assert.strictEqual((yield* h.retrieve(second.body.request_id)).status, 200)
        assert.deepStrictEqual((yield* h.applied).map(({ seqId }) => seqId), [0, 1, 2])
        // after that a gap is a gap
        const fourth = yield* h.optimStep(model, 4)
        yield* TestClock.adjust("5001 millis")
        assert.strictEqual((yield* h.retrieve(fourth.body.request_id)).status, 200)
        assert.strictEqual((yield* h.optimStep(model, 3)).status, 409)
      }).pipe(Effect.withClock(hands))
    }))
})
