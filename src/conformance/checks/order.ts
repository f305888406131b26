/** Order and idempotence: what is done is told by seq ids, however often and in whatever order requests arrive. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { allClose, type Check, Deviation, inGroup, that } from "../check.js"
import { field, text, wordsOf } from "../peer.js"
import * as Trainer from "../trainer.js"
import { first, length, second } from "./data.js"

const check = inGroup("order")
const source = "order"

export const order: ReadonlyArray<Check> = [
  check(
    "model-again",
    "create_model again with the same seq id is the same model",
    { source },
    (peer) =>
      Effect.gen(function*() {
        const body = {
          session_id: yield* peer.session,
          model_seq_id: peer.next(),
          base_model: peer.baseModel,
          lora_config: { rank: 8, seed: 1 },
          type: "create_model"
        }
        const ids: Array<string> = []
        for (let i = 0; i < 2; i++) {
          const outcome = yield* peer.outcome(yield* Trainer.accepted(yield* peer.post("/create_model", body)))
          ids.push(text((yield* Trainer.done("create_model", outcome)).json, "model_id"))
        }
        yield* that(ids[0] === ids[1], "one model id", () => ids.join(" and "))
      })
  ),
  check(
    "step-again",
    "a step that is sent again is the same request, done once",
    { source, trained: 4 * length },
    (peer) =>
      Effect.gen(function*() {
        const [once, twice] = [yield* Trainer.make(peer), yield* Trainer.make(peer)]
        for (const model of [once, twice]) yield* model.pass([first()])
        yield* once.step()
        const seq = twice.seq()
        const one = yield* Trainer.accepted(yield* twice.submitStep({}, seq))
        const two = yield* Trainer.accepted(yield* twice.submitStep({}, seq))
        yield* that(one === two, "the request_id of the first answer", () => `${two} after ${one}`)
        yield* peer.outcome(one)
        const [a, b] = [
          yield* once.pass([first()], { forwardOnly: true }),
          yield* twice.pass([first()], { forwardOnly: true })
        ]
        yield* allClose("logprobs", b.logprobs[0] ?? [], a.logprobs[0] ?? [], 1e-5)
      })
  ),
  check(
    "seq-reused",
    "a seq id that is used again for something else is refused",
    { source, trained: 2 * length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const seq = model.seq()
        yield* peer.outcome(yield* Trainer.accepted(yield* model.submitPass([first()], { seq })), { protobuf: true })
        const again = yield* model.submitPass([second()], { seq })
        if (again.status >= 400 && again.status < 500) return
        const outcome = again.status < 300
          ? yield* peer.outcome(yield* Trainer.accepted(again), { protobuf: true })
          : undefined
        yield* that(outcome?._tag === "Failed", "409, or a failed future", () => wordsOf(again))
      })
  ),
  check("later-first", "a later seq id is acknowledged while the earlier one is still missing, and runs after it", {
    source,
    trained: 4 * length
  }, (peer) =>
    Effect.gen(function*() {
      const [straight, turned] = [yield* Trainer.make(peer), yield* Trainer.make(peer)]
      yield* straight.pass([first()])
      yield* straight.step()
      const [pass, step] = [turned.seq(), turned.seq()]
      const before = yield* Clock.currentTimeMillis
      const second = yield* Trainer.accepted(yield* turned.submitStep({}, step))
      const took = (yield* Clock.currentTimeMillis) - before
      yield* that(took < 20_000, "an acknowledgement at once", () => `one after ${Math.round(took / 1000)} s`)
      yield* peer.outcome(yield* Trainer.accepted(yield* turned.submitPass([first()], { seq: pass })), {
        protobuf: true
      })
      yield* Trainer.done("the step", yield* peer.outcome(second))
      const [a, b] = [
        yield* straight.pass([first()], { forwardOnly: true }),
        yield* turned.pass([first()], { forwardOnly: true })
      ]
      yield* allClose("logprobs", b.logprobs[0] ?? [], a.logprobs[0] ?? [], 1e-5)
    })),
  check(
    "pipelined",
    "requests that are not waited for are done in their order",
    { source, trained: 8 * length },
    (peer) =>
      Effect.gen(function*() {
        const [slow, fast] = [yield* Trainer.make(peer), yield* Trainer.make(peer)]
        for (const data of [first(), second(), first()]) {
          yield* slow.pass([data])
          yield* slow.step()
        }
        const ids: Array<string> = []
        for (const data of [first(), second(), first()]) {
          ids.push(yield* Trainer.accepted(yield* fast.submitPass([data])))
          ids.push(yield* Trainer.accepted(yield* fast.submitStep()))
        }
        for (const [i, id] of ids.entries()) yield* peer.outcome(id, { protobuf: i % 2 === 0 })
        const [a, b] = [
          yield* slow.pass([first()], { forwardOnly: true }),
          yield* fast.pass([first()], { forwardOnly: true })
        ]
        yield* allClose("logprobs", b.logprobs[0] ?? [], a.logprobs[0] ?? [], 1e-5)
      })
  ),
  check(
    "failure-does-not-wedge",
    "what comes after a refused request is done",
    { source, trained: 2 * length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const bad = yield* model.submitPass([first()], { loss: "no_such_loss" })
        if (bad.status < 300) yield* peer.outcome(yield* Trainer.accepted(bad), { protobuf: true })
        yield* model.pass([first()])
        yield* model.step()
      })
  ),
  check(
    "gap-is-skipped",
    "a seq id that never comes does not hold up the rest for ever",
    { source, trained: length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        model.seq()
        const outcome = yield* peer.outcome(yield* Trainer.accepted(yield* model.submitStep({ learning_rate: 0 })))
        yield* that(
          outcome._tag === "Done" || outcome.detail !== "",
          "a result, or a failure that says what is missing",
          () => "neither"
        )
      })
  ),
  check(
    "models-apart",
    "models of one session do not touch each other",
    { source, trained: 5 * length },
    (peer) =>
      Effect.gen(function*() {
        const [trained, idle] = [yield* Trainer.make(peer), yield* Trainer.make(peer)]
        const before = yield* idle.pass([first()], { forwardOnly: true })
        for (let i = 0; i < 2; i++) {
          yield* trained.pass([first()])
          yield* trained.step({ learning_rate: 0.05 })
        }
        const after = yield* idle.pass([first()], { forwardOnly: true })
        yield* allClose("logprobs of the idle model", after.logprobs[0] ?? [], before.logprobs[0] ?? [], 1e-6)
      })
  ),
  check(
    "sample-again",
    "a sample that is sent again with its seq id is the same request",
    { source, sampled: 24 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const body = {
          sampling_session_id: sampler.id,
          seq_id: peer.next(),
          num_samples: 1,
          prompt: { chunks: [{ type: "encoded_text", tokens: [8, 5, 12] }] },
          sampling_params: { max_tokens: 8, temperature: 1, top_k: -1, top_p: 1 },
          type: "sample"
        }
        const one = yield* peer.post("/asample", body)
        const two = yield* peer.post("/asample", body)
        yield* that(
          (yield* Trainer.accepted(one)) === (yield* Trainer.accepted(two)),
          "one request_id",
          () => `${text(one.json, "request_id")} and ${text(two.json, "request_id")}`
        )
      })
  ),
  check(
    "wide-seq-ids",
    "seq ids of samples beyond 2^53 are told apart",
    { source, sampled: 16 },
    (peer) =>
      Effect.gen(function*() {
        const sampler = yield* Trainer.ofBase(peer)
        const ids = new Set<string>()
        const start = 224_978_767_000_000_000n + BigInt(peer.next())
        for (let i = 0; i < 3; i++) {
          const answer = yield* sampler.submit([8, 5, 12], { max_tokens: 2 }, { seq_id: start + BigInt(i) })
          ids.add(yield* Trainer.accepted(answer))
        }
        yield* that(ids.size === 3, "three requests", () => `${ids.size}`)
      })
  ),
  check("sequence-ids", "the answer to a sample names its sequences, each by an id of its own", {
    source: "sampling",
    sampled: 9
  }, (peer) =>
    Effect.gen(function*() {
      const sampler = yield* Trainer.ofBase(peer)
      const answer = yield* sampler.submit([8, 5, 12], { max_tokens: 2 }, { num_samples: 3 })
      yield* Trainer.accepted(answer)
      const ids = field(answer.json, "sample_sequence_ids")
      if (!Array.isArray(ids)) {
        return yield* new Deviation({ expected: "sample_sequence_ids in the answer", got: wordsOf(answer) })
      }
      yield* that(new Set(ids).size === 3, "three ids", () => JSON.stringify(ids).slice(0, 100))
    }))
]
