import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as Harness from "../fixtures/harness.js"

const heartbeat = (h: Harness.Harness, session: string) =>
  Effect.map(h.post("/session_heartbeat", { session_id: session, type: "session_heartbeat" }), ({ status }) => status)

describe("Sessions", () => {
  it.scoped("live as long as they are heard of, and take their runs and samplers with them", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const session = model.split(":")[0]!
      const save = yield* h.post("/save_weights_for_sampler", {
        model_id: model,
        seq_id: 1,
        sampling_session_seq_id: 0
      })
      const sampler = (yield* h.retrieve(save.body.request_id)).body.sampling_session_id
      for (let i = 0; i < 4; i++) {
        yield* TestClock.adjust("299 seconds")
        assert.strictEqual(yield* heartbeat(h, session), 200)
      }
      assert.deepInclude(yield* h.server.stats, { sessions: 1, runs: 1, samplers: 1 })
      yield* TestClock.adjust("330 seconds")
      // the sampler's weights are taken off a real disk, which takes a time of its own
      yield* Harness.until(Effect.sync(() => h.engine.runs.size === 0))
      assert.deepInclude(yield* h.server.stats, { sessions: 0, runs: 0, samplers: 0 })
      assert.include(h.methods(), "releaseRun")
      assert.include(h.methods(), "releaseSampler")
      assert.strictEqual(h.engine.runs.size, 0)
      assert.strictEqual(h.engine.samplers.size, 0)
      assert.strictEqual(yield* heartbeat(h, session), 404)
      const late = yield* h.optimStep(model, 2)
      assert.strictEqual(late.status, 403)
      assert.include(late.body.detail, "expired")
      assert.strictEqual((yield* h.get(`/samplers/${sampler}`)).status, 404)
    }))

  it.scoped("stop waiting operations when they expire", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      yield* h.engine.pause
      const running = yield* h.optimStep(model, 1)
      const waiting = yield* h.optimStep(model, 2)
      yield* TestClock.adjust("330 seconds")
      for (const { body } of [running, waiting]) {
        const answer = yield* h.retrieve(body.request_id)
        assert.strictEqual(answer.status, 200)
        assert.include(answer.body.error, "closed")
      }
    }))

  it.scoped("end when their client finishes them: the first reason stays, heartbeats get 410", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const session = model.split(":")[0]!
      const finish = (type: string) => h.post(`/sessions/${session}/finish`, { reason: { type }, detail: null })
      const pass = yield* h.forwardBackward(model, 1, [Harness.datum(2)])
      assert.strictEqual((yield* finish("success")).status, 200)
      assert.strictEqual((yield* finish("errored")).status, 200)
      assert.strictEqual(yield* heartbeat(h, session), 410)
      assert.strictEqual((yield* h.optimStep(model, 2)).status, 403)
      // what was given before is done, and its result is there
      assert.strictEqual((yield* h.retrieve(pass.body.request_id)).body.metrics["loss:sum"], 2)
      const found = yield* h.post("/sessions/search", { session_id: session })
      assert.deepStrictEqual(found.body.sessions[0].status, { type: "client_finished", reason: { type: "success" } })
    }))

  it.scoped("give back their runs and samplers when they are finished, and room for the next", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { models: 2 } })
      for (let program = 0; program < 20; program++) {
        const model = yield* h.model
        const session = model.split(":")[0]!
        yield* h.post("/save_weights_for_sampler", { model_id: model, seq_id: 1, sampling_session_seq_id: 0 })
        const step = yield* h.optimStep(model, 2)
        // an absent seq_id does not hold up the end
        const last = yield* h.optimStep(model, 4)
        yield* h.post(`/sessions/${session}/finish`, { reason: { type: "success" }, detail: null })
        for (const { body } of [step, last]) {
          assert.strictEqual((yield* h.retrieve(body.request_id)).body.error, undefined, `program ${program}`)
        }
        assert.isTrue(h.methods().includes("createRun"))
      }
      yield* Harness.until(Effect.map(h.server.stats, ({ runs }) => runs === 0))
      assert.deepInclude(yield* h.server.stats, { sessions: 0, runs: 0, samplers: 0 })
      assert.strictEqual(h.engine.runs.size, 0)
      assert.strictEqual(h.engine.samplers.size, 0)
      // one that is told to end while its work goes on is waited for
      const models = [yield* h.model, yield* h.model]
      const resume = yield* h.engine.pause
      const step = yield* h.optimStep(models[0]!, 1)
      yield* h.post(`/sessions/${models[0]!.split(":")[0]}/finish`, { reason: { type: "success" }, detail: null })
      const created = yield* h.post("/create_model", {
        session_id: models[1]!.split(":")[0],
        model_seq_id: 1,
        base_model: "test/tiny",
        lora_config: { rank: 8 }
      })
      const poll = yield* Effect.fork(h.retrieve(created.body.request_id))
      yield* h.held(1)
      yield* resume
      assert.strictEqual((yield* Fiber.join(poll)).body.error, undefined)
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).body.error, undefined)
    }))

  it.scoped("are listed, newest first, with what was made in them", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const created = yield* h.post("/create_session", {
        tags: ["a"],
        user_metadata: { team: "blue", run: 7, nested: { big: 1 } },
        sdk_version: "0.38.0",
        display_name: "My Great Session",
        project_id: "p1",
        something_new: true
      })
      const first = created.body.session_id
      const model = yield* h.model
      const second = model.split(":")[0]!
      assert.deepStrictEqual((yield* h.get("/sessions")).body.sessions, [second, first])
      assert.deepStrictEqual((yield* h.get("/sessions?limit=1&offset=1")).body.sessions, [first])
      assert.deepStrictEqual((yield* h.get(`/sessions/${second}`)).body.training_run_ids, [model])
      assert.deepStrictEqual((yield* h.get(`/sessions/${first}`)).body, {
        training_run_ids: [],
        sampler_ids: [],
        user_metadata: { team: "blue", run: "7", nested: "{\"big\":1}" },
        display_name: "My Great Session"
      })
      const search = (request: object) =>
        Effect.map(h.post("/sessions/search", request), ({ body }) =>
          body.sessions.map((_: { session_id: string }) => _.session_id))
      assert.deepStrictEqual(yield* search({ display_name: "session great" }), [first])
      assert.deepStrictEqual(yield* search({ user_metadata: { team: "red" } }), [])
      assert.deepStrictEqual(yield* search({ project_ids: ["p1"] }), [first])
      assert.strictEqual((yield* search({ statuses: [{ type: "active" }] })).length, 2)
      const page = yield* h.post("/sessions/search", { limit: 1 })
      assert.strictEqual(page.body.sessions.length, 1)
      const rest = yield* h.post("/sessions/search", { limit: 1, cursor: page.body.next_cursor })
      assert.notStrictEqual(rest.body.sessions[0].session_id, page.body.sessions[0].session_id)
      assert.isUndefined(rest.body.next_cursor)
    }))

  it.scoped("move between projects with their runs", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const session = model.split(":")[0]!
      assert.strictEqual((yield* h.request("PUT", `/sessions/${session}/project`, { project_id: "p2" })).status, 204)
      const runs = yield* h.get("/training_runs?project_id=p2")
      assert.deepStrictEqual(runs.body.training_runs.map((_: { training_run_id: string }) => _.training_run_id), [
        model
      ])
      assert.strictEqual((yield* h.get("/training_runs?project_id=other")).body.cursor.total_count, 0)
      assert.strictEqual((yield* h.request("PUT", "/sessions/nobody/project", { project_id: "p" })).status, 404)
    }))

  it.scoped("are refused beyond the limit, and unknown ones are 403 for new work", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ limits: { sessions: 1 } })
      yield* h.session
      const beyond = yield* h.post("/create_session", { sdk_version: "x" })
      assert.strictEqual(beyond.status, 429)
      const model = yield* h.post("/create_model", { session_id: "nobody", model_seq_id: 0, base_model: "test/tiny" })
      assert.strictEqual(model.status, 403)
      assert.include(model.body.detail, "Invalid session_id")
      assert.strictEqual(yield* heartbeat(h, "nobody"), 404)
    }))
})
