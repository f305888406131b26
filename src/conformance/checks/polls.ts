/** Futures: asked for as often as one likes, held while there is nothing to tell. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type Check, inGroup, that } from "../check.js"
import { field, text, wordsOf } from "../peer.js"
import * as Trainer from "../trainer.js"
import { length } from "./data.js"

const check = inGroup("polls")
const source = "futures"

export const polls: ReadonlyArray<Check> = [
  check("again", "a result can be fetched again", { source, trained: length }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const id = yield* Trainer.accepted(yield* model.submitStep({ learning_rate: 0 }))
      yield* Trainer.done("the step", yield* peer.outcome(id))
      yield* Trainer.done("the step, asked for again,", yield* peer.outcome(id))
    })),
  check(
    "two-waiters",
    "two that wait for one result both get it",
    { source, trained: length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const id = yield* Trainer.accepted(yield* model.submitStep({ learning_rate: 0 }))
        const outcomes = yield* Effect.all([peer.outcome(id), peer.outcome(id)], { concurrency: 2 })
        for (const outcome of outcomes) yield* Trainer.done("the step", outcome)
      })
  ),
  check(
    "unknown",
    "a future that does not exist is refused, not waited for",
    { source },
    (peer) =>
      Effect.gen(function*() {
        const answer = yield* peer.poll("00000000-0000-4000-8000-000000000000:train:0:99")
        yield* that(
          answer.status === 404 || answer.status === 410 || answer.status === 400,
          "404, 410 or 400",
          () => wordsOf(answer)
        )
      })
  ),
  check("held", "a poll without a result is held for a while, and ends before a client gives it up at 45 seconds", {
    source,
    trained: length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      model.seq() // what would come first does not come: the step has to wait
      const id = yield* Trainer.accepted(yield* model.submitStep({ learning_rate: 0 }))
      const before = yield* Clock.currentTimeMillis
      const answer = yield* peer.poll(id)
      const took = (yield* Clock.currentTimeMillis) - before
      yield* that(took < 45_000, "an answer within 45 seconds", () => `one after ${Math.round(took / 1000)} s`)
      const pending = answer.status === 408 || text(answer.json, "type") === "try_again"
      yield* that(!pending || took >= 500, "a poll that is held", () => `"not yet" after ${took} ms`)
    })),
  check(
    "queue-state",
    "an answer that there is none yet tells the state of the queue",
    { source, trained: length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        model.seq()
        const answer = yield* peer.poll(yield* Trainer.accepted(yield* model.submitStep({ learning_rate: 0 })))
        if (answer.status !== 408 && text(answer.json, "type") !== "try_again") return // it had a result after all
        const state = field(answer.json, "queue_state")
        yield* that(typeof state === "string", "a queue_state", () => wordsOf(answer))
      })
  )
]
