import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as TestClock from "effect/TestClock"
import * as Safetensors from "../../../src/server/checkpoints/Safetensors.js"
import * as Harness from "../fixtures/harness.js"

/** A model whose weight is 5, and its checkpoint `five`. */
const saved = (h: Harness.Harness, endpoint = "save_weights", more: object = {}) =>
  Effect.gen(function*() {
    const model = yield* h.model
    yield* h.forwardBackward(model, 1, [Harness.datum(5)])
    yield* h.optimStep(model, 2)
    const save = yield* h.post(`/${endpoint}`, { model_id: model, seq_id: 3, path: "five", ...more })
    const { body } = yield* h.retrieve(save.body.request_id)
    return { model, path: body.path as string, session: model.split(":")[0]! }
  })

const result = (h: Harness.Harness, answer: Harness.Answer) => {
  assert.strictEqual(answer.status, 202)
  return Effect.map(h.retrieve(answer.body.request_id), ({ body }) => body)
}

/** Names and contents of the files of a tar. */
const untar = (bytes: Uint8Array): ReadonlyMap<string, Uint8Array> => {
  const files = new Map<string, Uint8Array>()
  const text = (from: number, length: number) =>
    new TextDecoder().decode(bytes.subarray(from, from + length)).replace(/[\0 ].*$/s, "")
  for (let at = 0; text(at, 100) !== "";) {
    const size = parseInt(text(at + 124, 12), 8)
    files.set(text(at, 100), bytes.subarray(at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

describe("checkpoints", () => {
  it.scoped("are saved and loaded, with and without the optimiser", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { model, path } = yield* saved(h)
      assert.strictEqual(path, `tinker://${model}/weights/five`)
      yield* h.forwardBackward(model, 4, [Harness.datum(3)])
      yield* h.optimStep(model, 5)
      for (const [seqId, optimizer] of [[6, true], [7, false]] as const) {
        const load = yield* h.post("/load_weights", { model_id: model, seq_id: seqId, path, optimizer })
        assert.deepStrictEqual(yield* result(h, load), { path, model_id: model, type: "load_weights" })
        assert.deepStrictEqual(h.engine.runs.get(model), { weight: 5, gradient: 0, step: optimizer ? 1 : 0 })
      }
    }))

  it.scoped("say what the system said when they cannot be deleted or saved, and stay", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const dataDir = yield* fs.makeTempDirectoryScoped()
      const h = yield* Harness.make({ dataDir })
      const { model } = yield* saved(h)
      yield* fs.remove(`${dataDir}/tmp`, { recursive: true })
      yield* fs.writeFileString(`${dataDir}/tmp`, "not a directory")
      const at = `/training_runs/${model}/checkpoints`
      const answer = yield* h.request("DELETE", `${at}/weights/five`)
      assert.strictEqual(answer.status, 503)
      assert.include(answer.body.detail, "ENOTDIR: not a directory")
      assert.strictEqual(answer.headers.get("x-should-retry"), "false")
      assert.lengthOf((yield* h.get(at)).body.checkpoints, 1)
      const save = yield* h.post("/save_weights", { model_id: model, seq_id: 4, path: "six" })
      const failed = yield* result(h, save)
      assert.strictEqual(failed.category, "server")
      assert.include(failed.error, "ENOTDIR: not a directory")
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("make a new model in one request, which keeps their settings", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { path, session } = yield* saved(h)
      const load = yield* h.post("/load_weights", {
        session_id: session,
        model_seq_id: 4,
        path,
        optimizer: true,
        user_metadata: { renderer_name: "qwen3", n: 3 }
      })
      const model = `${session}:train:4`
      assert.deepStrictEqual(yield* result(h, load), { path, model_id: model, type: "load_weights" })
      const info = yield* h.post("/get_info", { model_id: model })
      assert.deepInclude(info.body, { is_lora: true, lora_rank: 8, model_name: "test/tiny" })
      const step = yield* h.optimStep(model, 1)
      assert.strictEqual((yield* h.retrieve(step.body.request_id)).status, 200)
      const run = yield* h.get(`/training_runs/${model}`)
      assert.deepStrictEqual(run.body.user_metadata, { renderer_name: "qwen3", n: "3" })
    }))

  it.scoped("are refused at once under a name that is taken", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { model } = yield* saved(h)
      const resume = yield* h.engine.pause
      // an answer at once, although the queue is busy
      yield* h.optimStep(model, 4)
      const again = yield* h.post("/save_weights", { model_id: model, seq_id: 5, path: "five" })
      const { body } = yield* h.retrieve(again.body.request_id)
      assert.strictEqual(body.category, "user")
      assert.include(body.error, "already exists")
      yield* resume
      const over = yield* h.post("/save_weights", { model_id: model, seq_id: 6, path: "five", overwrite: true })
      assert.match((yield* result(h, over)).path, /weights\/five$/)
      const first = yield* h.post("/save_weights", { model_id: model, seq_id: 7, path: "six" })
      const second = yield* h.post("/save_weights", { model_id: model, seq_id: 8, path: "six" })
      assert.match((yield* result(h, first)).path, /six$/)
      assert.include((yield* h.retrieve(second.body.request_id)).body.error, "already exists")
      const repeated = yield* h.post("/save_weights", { model_id: model, seq_id: 7, path: "six" })
      assert.strictEqual(repeated.body.request_id, first.body.request_id)
    }))

  it.scoped("refuse bad names and times to live before anything is done", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      const bad = [{ path: "a/b" }, { path: "" }, { path: "a", ttl_seconds: 0 }, { path: "a", ttl_seconds: -1 }]
      for (const [i, more] of bad.entries()) {
        for (const endpoint of ["save_weights", "save_weights_for_sampler", "save_weights_external"]) {
          const answer = yield* h.post(`/${endpoint}`, { model_id: model, seq_id: 3 * i + 1, ...more })
          assert.include([400, 409], answer.status)
        }
      }
      assert.notInclude(h.methods(), "exportRun")
    }))

  it.scoped("are listed with their runs, newest first", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { model } = yield* saved(h, "save_weights", { user_metadata: { step: "1" }, ttl_seconds: 3600 })
      yield* TestClock.adjust("1 seconds")
      yield* result(h, yield* h.post("/save_weights_for_sampler", { model_id: model, seq_id: 4, path: "s" }))
      const runs = yield* h.get("/training_runs?limit=5&access_scope=owned")
      assert.deepStrictEqual(runs.body.cursor, { offset: 0, limit: 5, total_count: 1 })
      const run = runs.body.training_runs[0]
      assert.deepInclude(run, { training_run_id: model, base_model: "test/tiny", is_lora: true, lora_rank: 8 })
      assert.strictEqual(run.last_checkpoint.checkpoint_id, "weights/five")
      assert.strictEqual(run.last_sampler_checkpoint.checkpoint_id, "sampler_weights/s")
      assert.deepStrictEqual((yield* h.get(`/training_runs/${encodeURIComponent(model)}`)).body, run)
      const ofRun = (yield* h.get(`/training_runs/${model}/checkpoints`)).body.checkpoints
      assert.deepStrictEqual(
        ofRun.map((_: { checkpoint_id: string }) => _.checkpoint_id),
        ["sampler_weights/s", "weights/five"]
      )
      assert.deepInclude(ofRun[1], {
        checkpoint_type: "training",
        tinker_path: `tinker://${model}/weights/five`,
        time: "1970-01-01T00:00:00.000Z",
        expires_at: "1970-01-01T01:00:00.000Z",
        public: false,
        user_metadata: { step: "1" }
      })
      const all = yield* h.get("/checkpoints?limit=1&offset=1")
      assert.deepStrictEqual(all.body.cursor, { offset: 1, limit: 1, total_count: 2 })
      assert.strictEqual(all.body.checkpoints[0].checkpoint_id, "weights/five")
      assert.strictEqual((yield* h.get("/training_runs/nobody")).status, 404)
      assert.strictEqual((yield* h.get("/checkpoints?limit=x")).status, 400)
    }))

  it.scoped("are published, given a time to live, and deleted by ids written in either way", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { model } = yield* saved(h)
      const plain = `/training_runs/${model}/checkpoints/weights/five`
      const encoded = `/training_runs/${encodeURIComponent(model)}/checkpoints/${encodeURIComponent("weights/five")}`
      const status = (method: string, path: string, body?: unknown) =>
        Effect.map(h.request(method, path, body), (answer) => answer.status)
      assert.strictEqual(yield* status("POST", `${plain}/publish`), 204)
      assert.strictEqual(yield* status("POST", `${encoded}/publish`), 409)
      assert.strictEqual(yield* status("DELETE", `${encoded}/publish`), 204)
      assert.strictEqual(yield* status("DELETE", `${plain}/publish`), 409)
      assert.strictEqual(yield* status("PUT", `${plain}/ttl`, { ttl_seconds: 0 }), 400)
      assert.strictEqual(yield* status("PUT", `${plain}/ttl`, { ttl_seconds: 10 }), 204)
      assert.strictEqual(yield* status("PUT", `${encoded}/ttl`, { ttl_seconds: null }), 204)
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(yield* status("DELETE", encoded), 204)
      assert.strictEqual(yield* status("DELETE", plain), 404)
      assert.strictEqual(yield* status("POST", `/training_runs/${model}/checkpoints/other/five/publish`), 400)
    }))

  it.scoped("can be downloaded as an archive of PEFT files, by a link that needs no key and ends", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { model } = yield* saved(h)
      const answer = yield* h.get(`/training_runs/${model}/checkpoints/weights/five/archive`)
      assert.strictEqual(answer.status, 302)
      const location = answer.headers.get("location")!
      assert.match(location, /^http:\/\/test\/api\/v1\/files\//)
      assert.strictEqual(answer.body.url, location)
      assert.strictEqual(Date.parse(answer.headers.get("expires")!), Date.parse(answer.body.expires))
      const link = location.slice("http://test".length)
      const archive = yield* h.get(link)
      assert.strictEqual(archive.headers.get("content-type"), "application/x-tar")
      const files = untar(archive.bytes)
      assert.deepStrictEqual([...files.keys()], [
        "adapter_config.json",
        "adapter_model.safetensors",
        "checkpoint_complete"
      ])
      const config = JSON.parse(new TextDecoder().decode(files.get("adapter_config.json")))
      assert.deepInclude(config, { peft_type: "LORA", r: 8, lora_alpha: 32, base_model_name_or_path: "test/tiny" })
      assert.deepStrictEqual(config.target_modules, ["q_proj"])
      const { tensors } = Either.getOrThrow(Safetensors.decode(files.get("adapter_model.safetensors")!))
      assert.deepStrictEqual([...tensors[0]!.data], [5])
      const forged = yield* h.get(
        link.replace(/.(\/archive)/, (_, tail) => `${link.includes("A/") ? "B" : "A"}${tail}`)
      )
      assert.strictEqual(forged.status, 403)
      yield* TestClock.adjust("61 minutes")
      assert.strictEqual((yield* h.get(link)).status, 403)
      assert.strictEqual((yield* h.get(`/training_runs/${model}/checkpoints/weights/none/archive`)).status, 404)
    }))

  it.scoped("can be exported file by file", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { model, path } = yield* saved(h, "save_weights_external")
      assert.strictEqual(path, `tinker://${model}/external_weights/five`)
      const urls = yield* h.get(`/training_runs/${model}/checkpoints/external_weights/five/external_weights_urls`)
      assert.deepStrictEqual(Object.keys(urls.body.urls), ["adapter_config.json", "adapter_model.safetensors"])
      const file = yield* h.get(urls.body.urls["adapter_model.safetensors"].slice("http://test".length))
      assert.strictEqual(file.status, 200)
      assert.isTrue(Either.isRight(Safetensors.decode(file.bytes)))
      const other = yield* h.get(`/training_runs/${model}/checkpoints/weights/five/external_weights_urls`)
      assert.strictEqual(other.status, 400)
      const secret = yield* h.post("/save_weights_external", {
        model_id: model,
        seq_id: 4,
        path: "x",
        age_encryption_recipients: ["age1"]
      })
      assert.include(secret.body.detail, "age_encryption_recipients")
    }))

  it.scoped("tell what they were made with", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { path } = yield* saved(h)
      const info = yield* h.post("/weights_info", { tinker_path: path })
      assert.deepStrictEqual(info.body, {
        base_model: "test/tiny",
        is_lora: true,
        lora_rank: 8,
        train_unembed: true,
        train_mlp: true,
        train_attn: true,
        optimizer_config: { type: "adamw" }
      })
      assert.strictEqual((yield* h.post("/weights_info", { tinker_path: `${path}x` })).status, 404)
      assert.strictEqual((yield* h.post("/weights_info", { tinker_path: "five" })).status, 400)
    }))

  it.scoped("are copied into a run of their own", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const { path, session } = yield* saved(h)
      const copy = yield* h.post("/copy_weights", { session_id: session, model_seq_id: 9, source_path: path })
      assert.strictEqual(copy.body.tinker_path, `tinker://${session}:train:9/weights/five`)
      const again = yield* h.post("/copy_weights", { session_id: session, model_seq_id: 9, source_path: path })
      assert.strictEqual(again.status, 409)
      const elsewhere = yield* h.post("/copy_weights", { destination_project_id: "p", source_path: path })
      assert.match(elsewhere.body.tinker_path, /^tinker:\/\/[0-9a-f-]+:train:0\/weights\/five$/)
      const info = yield* h.post("/weights_info", { tinker_path: elsewhere.body.tinker_path })
      assert.strictEqual(info.body.lora_rank, 8)
    }))

  it.scoped("survive a restart, with their runs and what users wrote on them", () =>
    Effect.gen(function*() {
      const dataDir = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
      const { model, path } = yield* Effect.scoped(Effect.flatMap(Harness.make({ dataDir }), (h) => saved(h)))
      const h = yield* Harness.make({ dataDir })
      const run = yield* h.get(`/training_runs/${model}`)
      assert.strictEqual(run.body.last_checkpoint.tinker_path, path)
      assert.deepStrictEqual((yield* h.get(`/sessions/${model.split(":")[0]}`)).body.training_run_ids, [model])
      const lost = yield* h.optimStep(model, 4)
      assert.strictEqual(lost.status, 403)
      const session = yield* h.session
      const load = yield* h.post("/load_weights", { session_id: session, model_seq_id: 0, path, optimizer: true })
      yield* result(h, load)
      assert.deepStrictEqual(h.engine.runs.get(`${session}:train:0`), { weight: 5, gradient: 0, step: 1 })
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.scoped("are loaded only first by a strict server", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ strictLoad: true })
      const { model, path, session } = yield* saved(h)
      const load = yield* h.post("/load_weights", { model_id: model, seq_id: 4, path, optimizer: false })
      assert.strictEqual(load.status, 400)
      assert.strictEqual(load.body.detail, "LoadWeights is not permitted with seq_id 4")
      const created = yield* h.post("/create_model", {
        session_id: session,
        model_seq_id: 1,
        base_model: "test/tiny",
        lora_config: { rank: 8 }
      })
      const first = yield* h.post("/load_weights", {
        model_id: created.body.model_id,
        seq_id: 1,
        path,
        optimizer: false
      })
      assert.strictEqual((yield* result(h, first)).path, path)
    }))

  it.scoped("fail their future when the storage does, and the queue goes on", () =>
    Effect.gen(function*() {
      const h = yield* Harness.make()
      const model = yield* h.model
      h.faults(({ phase, step }) => phase === "storage" && step === "rename" ? [{ _tag: "Fail" }] : [])
      const save = yield* h.post("/save_weights", { model_id: model, seq_id: 1, path: "a" })
      const failed = yield* h.retrieve(save.body.request_id)
      assert.strictEqual(failed.body.category, "server")
      h.faults(() => [])
      const again = yield* h.post("/save_weights", { model_id: model, seq_id: 2, path: "a" })
      assert.match((yield* result(h, again)).path, /weights\/a$/)
    }))
})
