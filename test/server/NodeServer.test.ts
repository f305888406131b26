import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Net from "node:net"
import { Engine } from "../../src/engine/Engine.js"
import { type Fault, FaultInjector, type FaultPoint } from "../../src/server/FaultInjector.js"
import * as NodeServer from "../../src/server/NodeServer.js"
import { Server } from "../../src/server/Server.js"
import type * as ServerConfig from "../../src/server/ServerConfig.js"
import * as Harness from "./fixtures/harness.js"
import * as RecordingEngine from "./fixtures/recordingEngine.js"

const start = (options: ServerConfig.Options & NodeServer.ListenOptions = {}) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const engine = RecordingEngine.make()
    let decide: (point: FaultPoint) => ReadonlyArray<Fault> = () => []
    const context = yield* Layer.buildWithScope(
      NodeServer.layer(options).pipe(
        Layer.provide(Layer.succeed(Engine, engine.service)),
        Layer.provide(Layer.succeed(FaultInjector, (point: FaultPoint) => Effect.sync(() => decide(point))))
      ),
      scope
    )
    const { port, url } = Context.get(context, NodeServer.NodeServer)
    const call = (method: string, path: string, body?: unknown) =>
      Effect.promise(async (signal) => {
        const answer = await fetch(`${url}/api/v1${path}`, {
          method,
          signal,
          headers: { "content-type": "application/json" },
          ...(body === undefined ? {} : { body: JSON.stringify(body) })
        })
        const text = await answer.text()
        // answers are told apart by the tests themselves
        return { status: answer.status, body: text === "" ? undefined : JSON.parse(text) }
      })
    const model = Effect.gen(function*() {
      const session = yield* call("POST", "/create_session", { sdk_version: "x" })
      const created = yield* call("POST", "/create_model", {
        session_id: session.body.session_id,
        model_seq_id: 0,
        base_model: "test/tiny",
        lora_config: { rank: 8 }
      })
      return created.body.model_id as string
    })
    const close = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => close)
    return {
      engine,
      server: Context.get(context, Server),
      url,
      port,
      call,
      model,
      close,
      faults: (f: typeof decide) => {
        decide = f
      }
    }
  })

describe("NodeServer", () => {
  it.scopedLive("takes nothing from the Host header into links", () =>
    Effect.gen(function*() {
      const node = yield* start()
      const model = yield* node.model
      const saved = yield* node.call("POST", "/save_weights", { model_id: model, path: "one", seq_id: 1 })
      yield* node.call("POST", "/retrieve_future", { request_id: saved.body.request_id })
      const path = `/api/v1/training_runs/${model}/checkpoints/weights/one/archive`
      const headers = { host: "evil.localhost", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https" }
      const { location, text } = yield* Effect.promise(() =>
        new Promise<{ location: string; text: string }>((resolve, reject) => {
          const request = Http.get({ host: "127.0.0.1", port: node.port, path, headers }, (response) => {
            let text = ""
            response.on("data", (chunk) => text += String(chunk))
            response.on("end", () => resolve({ location: response.headers.location ?? "", text }))
          })
          request.on("error", reject)
        })
      )
      assert.isTrue(location.startsWith(`${node.url}/api/v1/files/`), location)
      assert.notInclude(text, "evil")
      assert.strictEqual((yield* Effect.promise(() => fetch(location))).status, 200)
    }))

  it.scopedLive("listens on this machine only, on any free port, and stops when its scope closes", () =>
    Effect.gen(function*() {
      const one = yield* start()
      const two = yield* start()
      assert.notStrictEqual(one.port, two.port)
      assert.strictEqual(one.url, `http://127.0.0.1:${one.port}`)
      assert.deepStrictEqual((yield* one.call("GET", "/healthz")).body, { status: "ok" })
      yield* one.close
      assert.isTrue(Exit.isFailure(yield* Effect.exit(one.call("GET", "/healthz"))))
      assert.strictEqual((yield* two.call("GET", "/healthz")).status, 200)
    }))

  it.scopedLive("answers the polls that it holds when it is closed", () =>
    Effect.gen(function*() {
      const node = yield* start()
      const model = yield* node.model
      yield* node.engine.pause
      const step = yield* node.call("POST", "/optim_step", { model_id: model, seq_id: 1, adam_params: {} })
      const poll = yield* Effect.fork(node.call("POST", "/retrieve_future", { request_id: step.body.request_id }))
      yield* Harness.until(Effect.map(node.server.stats, ({ heldPolls }) => heldPolls === 1))
      yield* node.close
      assert.include([200, 408], (yield* Fiber.join(poll)).status)
    }))

  it.scopedLive("stops working on a poll whose client goes away", () =>
    Effect.gen(function*() {
      const node = yield* start()
      const model = yield* node.model
      yield* node.engine.pause
      const step = yield* node.call("POST", "/optim_step", { model_id: model, seq_id: 1, adam_params: {} })
      const poll = yield* Effect.fork(node.call("POST", "/retrieve_future", { request_id: step.body.request_id }))
      const held = (polls: number) =>
        Harness.until(Effect.map(node.server.stats, ({ heldPolls }) => heldPolls === polls))
      yield* held(1)
      yield* Fiber.interrupt(poll)
      yield* held(0)
    }))

  it.scopedLive("refuses a body that is too large before it is sent, and without a length as it comes", () =>
    Effect.gen(function*() {
      const node = yield* start({ limits: { bodyBytes: 1000 } })
      const send = (headers: Record<string, string>) =>
        Effect.async<number>((resume) => {
          const request = Http.request(`${node.url}/api/v1/create_session`, { method: "POST", headers }, (answer) => {
            answer.resume()
            resume(Effect.succeed(answer.statusCode!))
          })
          // the server may close the connection while the rest is being written
          request.on("error", () => {})
          request.write(Buffer.alloc(1001, 32))
          request.end()
        })
      assert.strictEqual(yield* send({ "content-length": "1001" }), 413)
      assert.strictEqual(yield* send({ "transfer-encoding": "chunked" }), 413)
      assert.strictEqual((yield* node.call("GET", "/healthz")).status, 200)
    }))

  it.scopedLive("breaks connections where a fault says so", () =>
    Effect.gen(function*() {
      const node = yield* start()
      const raw = (phase: FaultPoint["phase"], fault: Fault) =>
        Effect.async<string>((resume) => {
          node.faults((point) => point.phase === phase ? [fault] : [])
          const socket = Net.connect(node.port, "127.0.0.1", () => {
            socket.write("GET /api/v1/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
          })
          let text = ""
          socket.on("data", (chunk) => {
            text += chunk.toString()
            if (text.includes("{\"status\":\"ok\"}")) socket.end()
          })
          socket.on("error", () => {})
          socket.on("close", () => resume(Effect.succeed(text)))
        })
      assert.strictEqual(yield* raw("request", { _tag: "Reset" }), "")
      assert.strictEqual(yield* raw("reply", { _tag: "Reset" }), "")
      const truncated = yield* raw("reply", { _tag: "Truncate", bytes: 4 })
      assert.match(truncated, /content-length: 15/i)
      assert.isTrue(truncated.endsWith("{\"st"))
      const dripped = yield* raw("reply", { _tag: "Drip", bytes: 3, interval: "5 millis" })
      assert.include(dripped, "{\"status\":\"ok\"}")
      const plain = yield* raw("storage", { _tag: "Reset" })
      assert.include(plain, "200 OK")
    }))

  it.scopedLive("serves ids with colons and slashes, literally and encoded, and links by the host asked for", () =>
    Effect.gen(function*() {
      const node = yield* start()
      const model = yield* node.model
      const save = yield* node.call("POST", "/save_weights", { model_id: model, seq_id: 1, path: "a" })
      yield* node.call("POST", "/retrieve_future", { request_id: save.body.request_id })
      for (const id of ["weights/a", "weights%2Fa"]) {
        for (const run of [model, encodeURIComponent(model)]) {
          const answer = yield* Effect.promise(() =>
            fetch(`${node.url}/api/v1/training_runs/${run}/checkpoints/${id}/archive`, { redirect: "manual" })
          )
          assert.strictEqual(answer.status, 302)
          assert.isTrue(answer.headers.get("location")!.startsWith(`${node.url}/api/v1/files/`))
          yield* Effect.promise(() => answer.text())
        }
      }
      const archive = yield* Effect.promise(() =>
        fetch(`${node.url}/api/v1/training_runs/${model}/checkpoints/weights/a/archive`)
      )
      assert.strictEqual(archive.headers.get("content-type"), "application/x-tar")
      assert.strictEqual((yield* Effect.promise(() => archive.arrayBuffer())).byteLength % 512, 0)
    }))
})
