/** What is refused, with words that say why, and never silently or with a fault of the server. */
import * as Effect from "effect/Effect"
import { type Check, inGroup, that } from "../check.js"
import { type Answer, field, type Peer, text, type Unreachable, wordsOf } from "../peer.js"
import * as Trainer from "../trainer.js"
import { first } from "./data.js"

const check = inGroup("errors")
const source = "errors"

/** A request that is refused, at once or as a failed future; a 5xx is no refusal. */
const refused = (
  name: string,
  title: string,
  send: (peer: Peer) => Effect.Effect<Answer, Trainer.Failure>
): Check =>
  check(name, title, { source }, (peer) =>
    Effect.gen(function*() {
      const answer = yield* send(peer)
      yield* that(answer.status < 500, "4xx, or a future that fails", () => wordsOf(answer))
      if (answer.status >= 400) {
        yield* that(wordsOf(answer).length > 8, "words that say why", () => wordsOf(answer))
        return
      }
      const id = text(answer.json, "request_id")
      yield* that(id !== "", "4xx, or a future that fails", () => wordsOf(answer))
      const outcome = yield* peer.outcome(id, { protobuf: true })
      yield* that(outcome._tag === "Failed", "a refusal", () => "a result")
    }))

const createModel = (fields: object) => (peer: Peer) =>
  Effect.flatMap(peer.session, (session) =>
    peer.post("/create_model", {
      session_id: session,
      model_seq_id: peer.next(),
      base_model: peer.baseModel,
      lora_config: { rank: 8 },
      type: "create_model",
      ...fields
    }))

const samplingSession = (fields: object) => (peer: Peer): Effect.Effect<Answer, Unreachable> =>
  Effect.flatMap(peer.session, (session) =>
    peer.post("/create_sampling_session", {
      session_id: session,
      sampling_session_seq_id: peer.next(),
      type: "create_sampling_session",
      ...fields
    }))

const sample = (tokens: ReadonlyArray<number>, params: object, more: object = {}) => (peer: Peer) =>
  Effect.flatMap(Trainer.ofBase(peer), (sampler) => sampler.submit(tokens, params, more))

export const errors: ReadonlyArray<Check> = [
  refused("rank-zero", "a rank of 0", createModel({ lora_config: { rank: 0 } })),
  refused(
    "nothing-trained",
    "a model of which nothing is trained",
    createModel({
      lora_config: { rank: 8, train_attn: false, train_mlp: false, train_unembed: false }
    })
  ),
  refused("unknown-base", "a base model that does not exist", createModel({ base_model: "no/such-model" })),
  refused(
    "unknown-model",
    "a pass of a model that does not exist",
    (peer) => Trainer.attach(peer, "00000000-0000-4000-8000-000000000000:train:0").submitPass([first()])
  ),
  refused(
    "unknown-model-step",
    "a step of a model that does not exist",
    (peer) => Trainer.attach(peer, "00000000-0000-4000-8000-000000000000:train:0").submitStep()
  ),
  refused(
    "no-data",
    "a pass over no data",
    (peer) => Effect.flatMap(Trainer.make(peer), (model) => model.submitPass([]))
  ),
  refused("sampler-of-nothing", "a sampler of neither a base model nor a path", samplingSession({})),
  refused(
    "sampler-of-missing-state",
    "a sampler of weights that do not exist",
    samplingSession({
      model_path: "tinker://00000000-0000-4000-8000-000000000000:train:0/sampler_weights/none"
    })
  ),
  refused(
    "sample-unknown-session",
    "a sample of a sampler that does not exist",
    (peer) =>
      Trainer.samplerOf(peer, { sampling_session_id: "00000000-0000-4000-8000-000000000000:sample:9" }).submit([1], {
        max_tokens: 1
      })
  ),
  refused(
    "token-out-of-vocabulary",
    "a prompt with a token beyond the vocabulary",
    sample([1, 2_000_000_000], { max_tokens: 1 })
  ),
  refused("negative-token", "a prompt with a negative token", sample([1, -5], { max_tokens: 1 })),
  refused("empty-prompt", "an empty prompt", sample([], { max_tokens: 1 })),
  refused("no-samples", "no samples at all", sample([1, 2], { max_tokens: 1 }, { num_samples: 0 })),
  refused("negative-temperature", "a negative temperature", sample([1, 2], { max_tokens: 1, temperature: -1 })),
  refused("too-long", "a prompt and length beyond the context", sample([1, 2], { max_tokens: 100_000_000 })),
  refused(
    "malformed-protobuf",
    "a body that is no protobuf",
    (peer) =>
      peer.post("/forward_backward", new Uint8Array([255, 255, 255, 1, 2, 3]), {
        "content-type": "application/x-protobuf"
      })
  ),
  refused(
    "load-missing",
    "loading weights that do not exist",
    (peer) =>
      Effect.flatMap(Trainer.make(peer), (model) =>
        peer.post("/load_weights", {
          model_id: model.id,
          seq_id: model.seq(),
          path: "tinker://00000000-0000-4000-8000-000000000000:train:0/weights/none",
          optimizer: true,
          type: "load_weights"
        }))
  ),
  check("failed-future", "a future that fails says so in words and by category, with status 200", {
    source: "futures",
    feature: "failure-category"
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const name = `conformance-${peer.next()}`
      const body = { path: name, ttl_seconds: 3600, type: "save_weights" }
      yield* Trainer.done("save_weights", yield* model.operate("/save_weights", body))
      const answer = yield* peer.post("/save_weights", { model_id: model.id, seq_id: model.seq(), ...body })
      if (answer.status >= 400) return // refused at once: it has no future
      const poll = yield* peer.outcome(yield* Trainer.accepted(answer))
      yield* that(
        poll._tag === "Failed" && poll.status === 200 && ["user", "server", "unknown"].includes(poll.category ?? ""),
        `200 {"error", "category"}`,
        () => poll._tag === "Failed" ? `${poll.status} ${poll.category ?? "no category"}: ${poll.detail}` : "a result"
      )
    })),
  check(
    "training-run-unknown",
    "a training run that does not exist is a 404",
    { source },
    (peer) =>
      Effect.gen(function*() {
        const answer = yield* peer.get("/training_runs/00000000-0000-4000-8000-000000000000:train:0")
        yield* that(answer.status === 404, "404", () => wordsOf(answer))
      })
  ),
  check("no-route", "a path that does not exist is a 404, as JSON", { source }, (peer) =>
    Effect.gen(function*() {
      const answer = yield* peer.get("/no_such_endpoint")
      yield* that(answer.status === 404, "404", () => wordsOf(answer))
      yield* that(field(answer.json, "detail") !== undefined, "a JSON body with detail", () => wordsOf(answer))
    }))
]
