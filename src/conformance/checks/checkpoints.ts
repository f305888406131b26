/** Checkpoints: what is saved is what is loaded, and nothing else changes. */
import * as Effect from "effect/Effect"
import { allClose, type Check, close, inGroup, Lacking, that } from "../check.js"
import { field, type Peer, text, wordsOf } from "../peer.js"
import * as Trainer from "../trainer.js"
import { first, inputs, length } from "./data.js"

const check = inGroup("checkpoints")
const source = "checkpoints"

const now = (model: Trainer.Trainer) =>
  Effect.map(model.pass([first()], { forwardOnly: true }), ({ logprobs }) => logprobs[0] ?? [])

const train = (model: Trainer.Trainer, steps: number) =>
  Effect.gen(function*() {
    for (let i = 0; i < steps; i++) {
      yield* model.pass([first()])
      yield* model.step()
    }
  })

const save = (model: Trainer.Trainer, peer: Peer) =>
  Effect.gen(function*() {
    const outcome = yield* model.operate("/save_weights", {
      path: `conformance-${peer.next()}`,
      ttl_seconds: 3600,
      type: "save_weights"
    })
    return text((yield* Trainer.done("save_weights", outcome)).json, "path")
  })

/** A model whose first request is to load. */
const load = (peer: Peer, path: string, optimizer: boolean) =>
  Effect.gen(function*() {
    const model = yield* Trainer.make(peer)
    const outcome = yield* model.operate("/load_weights", { path, optimizer, type: "load_weights" })
    yield* Trainer.done("load_weights", outcome)
    return model
  })

/** The last part of a path as the REST routes take it, after the run: `weights/name`. */
const idOf = (path: string): string => path.split("/").slice(-2).join("/")
const runOf = (path: string): string => path.split("/")[2] ?? ""

export const checkpoints: ReadonlyArray<Check> = [
  check(
    "path",
    "a saved state is named tinker://run/weights/name",
    { source, trained: length },
    (peer) =>
      Effect.gen(function*() {
        const path = yield* save(yield* Trainer.make(peer), peer)
        yield* that(/^tinker:\/\/[^/]+\/weights\/[^/]+$/.test(path), "tinker://run/weights/name", () => path)
      })
  ),
  check(
    "same-weights",
    "a model that loads a state has its logprobs",
    { source, trained: 8 * length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        yield* train(model, 2)
        const loaded = yield* load(peer, yield* save(model, peer), false)
        yield* allClose("logprobs", yield* now(loaded), yield* now(model), 1e-5)
      })
  ),
  check("optimizer-resumes", "with its optimiser, the next step is the one that would have come", {
    source,
    trained: 12 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      yield* train(model, 2)
      const loaded = yield* load(peer, yield* save(model, peer), true)
      yield* train(model, 2)
      yield* train(loaded, 2)
      yield* allClose("logprobs two steps on", yield* now(loaded), yield* now(model), 1e-4)
    })),
  check("optimizer-starts-afresh", "without its optimiser, nothing moves until there is a gradient", {
    source,
    trained: 8 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      yield* train(model, 2)
      const loaded = yield* load(peer, yield* save(model, peer), false)
      const before = yield* now(loaded)
      yield* loaded.step()
      yield* allClose("logprobs after an empty step", yield* now(loaded), before, 1e-6)
    })),
  check("gradient-not-saved", "a gradient that waits for its step is not part of a state, and still waits after it", {
    source,
    feature: "gradient-norm",
    trained: 4 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      yield* model.pass([first()])
      const loaded = yield* load(peer, yield* save(model, peer), true)
      yield* close("the norm of the loaded model", yield* loaded.norm, 0, 1e-9)
      yield* that((yield* model.norm) > 0, "a gradient left in the saved one", () => "none")
    })),
  check("name-twice", "a name that is taken is refused at once, and the first state stays", {
    source,
    trained: 3 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const name = `conformance-${peer.next()}`
      const body = { path: name, ttl_seconds: 3600, type: "save_weights" }
      yield* Trainer.done("save_weights", yield* model.operate("/save_weights", body))
      const again = yield* model.operate("/save_weights", body)
      yield* that(again._tag === "Failed", "a refusal", () => "a second state of that name")
    })),
  check(
    "weights-info",
    "weights_info tells base model and rank of a state",
    { source, trained: length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer, { rank: 4 })
        const answer = yield* peer.post("/weights_info", { tinker_path: yield* save(model, peer) })
        yield* that(
          text(answer.json, "base_model") === peer.baseModel && field(answer.json, "lora_rank") === 4,
          `${peer.baseModel}, rank 4`,
          () => wordsOf(answer)
        )
      })
  ),
  check("listed", "a state is in the list of its run", { source, trained: length }, (peer) =>
    Effect.gen(function*() {
      const path = yield* save(yield* Trainer.make(peer), peer)
      const list = yield* peer.get(`/training_runs/${runOf(path)}/checkpoints`)
      const entries = field(list.json, "checkpoints")
      const ids = Array.isArray(entries) ? entries.map((entry) => text(entry, "checkpoint_id")) : []
      yield* that(ids.includes(idOf(path)), `${idOf(path)} among them`, () => ids.join(", ") || wordsOf(list))
    })),
  check("deleted", "a state that is deleted is gone", { source, trained: length }, (peer) =>
    Effect.gen(function*() {
      const path = yield* save(yield* Trainer.make(peer), peer)
      const answer = yield* peer.request("DELETE", `/training_runs/${runOf(path)}/checkpoints/${idOf(path)}`)
      yield* that(answer.status >= 200 && answer.status < 300, "2xx", () => wordsOf(answer))
      const info = yield* peer.post("/weights_info", { tinker_path: path })
      yield* that(info.status >= 400, "404 afterwards", () => wordsOf(info))
    })),
  check("ttl", "a state can be given a time to live, but none that is over", {
    source,
    feature: "checkpoint-ttl",
    trained: length
  }, (peer) =>
    Effect.gen(function*() {
      const path = yield* save(yield* Trainer.make(peer), peer)
      const route = `/training_runs/${runOf(path)}/checkpoints/${idOf(path)}/ttl`
      const good = yield* peer.request("PUT", route, { ttl_seconds: 3600 })
      if (good.status === 404 || good.status === 405) {
        return yield* new Lacking({ feature: "checkpoint-ttl", detail: wordsOf(good) })
      }
      yield* that(good.status < 300, "2xx", () => wordsOf(good))
      const bad = yield* peer.request("PUT", route, { ttl_seconds: 0 })
      yield* that(bad.status >= 400 && bad.status < 500, "400 for 0 seconds", () => wordsOf(bad))
    })),
  check("archive", "a sampler's weights can be fetched: a redirect, or a link in JSON", {
    source,
    feature: "archives",
    trained: length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const outcome = yield* model.operate("/save_weights_for_sampler", {
        path: `conformance-${peer.next()}`,
        ttl_seconds: 3600,
        type: "save_weights_for_sampler"
      })
      const path = text((yield* Trainer.done("save_weights_for_sampler", outcome)).json, "path")
      yield* that(/^tinker:\/\/[^/]+\/sampler_weights\/[^/]+$/.test(path), "tinker://run/sampler_weights/name", () =>
        path)
      const answer = yield* peer.get(`/training_runs/${runOf(path)}/checkpoints/${idOf(path)}/archive`)
      if (answer.status === 404 || answer.status === 501) {
        return yield* new Lacking({ feature: "archives", detail: wordsOf(answer) })
      }
      // clients that follow redirects by themselves see the archive
      yield* that(answer.status === 302 || answer.status === 200 || answer.status === 503, "302, 200 or 503", () =>
        wordsOf(answer))
    })),
  check("sampler-frozen", "a sampler keeps the weights of its making while the model goes on", {
    source,
    trained: 8 * length,
    sampled: 20
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      yield* train(model, 1)
      const sampler = yield* model.sampler
      const ask = Effect.map(
        sampler.sample([...inputs], { max_tokens: 1, temperature: 0 }, { prompt_logprobs: true }),
        ({ promptLogprobs }) => promptLogprobs ?? []
      )
      const before = yield* ask
      yield* train(model, 3)
      yield* allClose("prompt logprobs", yield* ask, before, 1e-5)
    })),
  check("training-untouched", "sampling from an earlier state leaves the model in training alone", {
    source,
    trained: 10 * length,
    sampled: 10
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      yield* train(model, 1)
      const outcome = yield* model.operate("/save_weights_for_sampler", {
        path: `conformance-${peer.next()}`,
        ttl_seconds: 3600,
        type: "save_weights_for_sampler"
      })
      const path = text((yield* Trainer.done("save_weights_for_sampler", outcome)).json, "path")
      yield* train(model, 3)
      const before = yield* now(model)
      const session = yield* peer.post("/create_sampling_session", {
        session_id: yield* peer.session,
        sampling_session_seq_id: peer.next(),
        model_path: path,
        type: "create_sampling_session"
      })
      const sampler = Trainer.samplerOf(peer, { sampling_session_id: text(session.json, "sampling_session_id") })
      yield* sampler.sample([8, 5, 12], { max_tokens: 4 })
      yield* allClose("logprobs of the model in training", yield* now(model), before, 1e-6)
    })),
  check(
    "unload",
    "what is asked of an unloaded model is refused",
    { source, feature: "unload-model", trained: length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const answer = yield* peer.post("/unload_model", { model_id: model.id, type: "unload_model" })
        if (answer.status === 404 || answer.status === 405 || answer.status === 501) {
          return yield* new Lacking({ feature: "unload-model", detail: wordsOf(answer) })
        }
        yield* peer.outcome(yield* Trainer.accepted(answer))
        const after = yield* model.submitPass([first()])
        const refused = after.status >= 400 ||
          (yield* peer.outcome(yield* Trainer.accepted(after), { protobuf: true }))._tag === "Failed"
        yield* that(refused, "a refusal", () => "a result")
      })
  )
]
