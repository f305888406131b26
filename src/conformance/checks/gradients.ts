/** Gradients, seen through their norm: they add up, are linear in the weights, and follow the loss. */
import * as Effect from "effect/Effect"
import type * as Datum from "../../protocol/Datum.js"
import { type Check, close, inGroup, that } from "../check.js"
import type { Peer } from "../peer.js"
import * as Trainer from "../trainer.js"
import { datum, first, inputs, length, second, weighted } from "./data.js"

const check = inGroup("gradients")
const settings = { source: "gradients", feature: "gradient-norm" }

/** The norm of what passes leave behind on a fresh model. */
const normOf = (peer: Peer, ...passes: ReadonlyArray<ReadonlyArray<Datum.Datum>>) =>
  Effect.gen(function*() {
    const model = yield* Trainer.make(peer)
    for (const data of passes) yield* model.pass(data)
    return yield* model.norm
  })

export const gradients: ReadonlyArray<Check> = [
  check("twice", "two passes over the same data give twice the gradient of one", {
    ...settings,
    trained: 3 * length
  }, (peer) =>
    Effect.gen(function*() {
      const one = yield* normOf(peer, [first()])
      yield* that(one > 0, "a gradient", () => String(one))
      yield* close("the norm after two passes", yield* normOf(peer, [first()], [first()]), 2 * one, 1e-3)
    })),
  check(
    "linear-in-weights",
    "twice the weights give twice the gradient",
    { ...settings, trained: 2 * length },
    (peer) =>
      Effect.gen(function*() {
        const one = yield* normOf(peer, [first()])
        yield* close("the norm at twice the weights", yield* normOf(peer, [first(2)]), 2 * one, 1e-3)
      })
  ),
  check(
    "small-weights",
    "weights of a thousandth count a thousandth",
    { ...settings, trained: 2 * length },
    (peer) =>
      Effect.gen(function*() {
        const one = yield* normOf(peer, [first()])
        yield* close("a thousand times the norm", 1000 * (yield* normOf(peer, [first(1e-3)])), one, 1e-2)
      })
  ),
  check("negative-weights", "a pass with the weights turned round takes the gradient back", {
    ...settings,
    trained: 2 * length
  }, (peer) =>
    Effect.gen(function*() {
      const one = yield* normOf(peer, [first()])
      const none = yield* normOf(peer, [first()], [first(-1)])
      yield* that(none <= 1e-3 * one, "a norm of almost nothing", () => `${none} beside ${one}`)
    })),
  check("batch-is-sum", "a batch gives what its data give one after the other", {
    ...settings,
    trained: 4 * length
  }, (peer) =>
    Effect.gen(function*() {
      const apart = yield* normOf(peer, [first()], [second()])
      yield* close("the norm of the batch", yield* normOf(peer, [first(), second()]), apart, 1e-3)
    })),
  check(
    "forward-adds-nothing",
    "forward only leaves no gradient",
    { ...settings, trained: length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        yield* model.pass([first()], { forwardOnly: true })
        yield* close("the norm", yield* model.norm, 0, 1e-9)
      })
  ),
  check(
    "zero-weights",
    "weights of zero leave no gradient",
    { ...settings, trained: length },
    (peer) =>
      Effect.gen(function*() {
        yield* close("the norm", yield* normOf(peer, [first(0)]), 0, 1e-9)
      })
  ),
  check(
    "step-clears",
    "a step uses the gradient up",
    { ...settings, trained: length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        yield* model.pass([first()])
        yield* that((yield* model.norm) > 0, "a gradient before the step", () => "none")
        yield* close("the norm after it", yield* model.norm, 0, 1e-9)
      })
  ),
  check("bad-batch-adds-nothing", "a batch that is refused for one datum adds nothing for the others", {
    ...settings,
    trained: 2 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const bad = datum({ target_tokens: [5, 12, 12, 15, 3, 2_000_000_000], weights: inputs.map(() => 1) })
      const answer = yield* model.submitPass([first(), bad])
      if (answer.status < 300) yield* peer.outcome(yield* Trainer.accepted(answer), { protobuf: true })
      yield* close("the norm", yield* model.norm, 0, 1e-9)
    })),
  check(
    "policy-at-ratio-one",
    "importance_sampling at a ratio of one has cross_entropy's gradient with the advantages as weights",
    {
      ...settings,
      trained: 3 * length
    },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const advantages = [1, -0.5, 0.25, 2, 1, -1]
        const { logprobs: [now = []] } = yield* model.pass([first()], { forwardOnly: true })
        yield* model.pass([datum({ logprobs: [...now], advantages })], {
          loss: "importance_sampling",
          feature: "loss:importance_sampling"
        })
        const policy = yield* model.norm
        yield* close("the norm", policy, yield* normOf(peer, [weighted(...advantages)]), 1e-3)
      })
  ),
  check("ppo-clipped", "ppo has no gradient where the clipped product is the smaller one", {
    ...settings,
    trained: 2 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const { logprobs: [now = []] } = yield* model.pass([first()], { forwardOnly: true })
      yield* model.pass([datum({ logprobs: now.map((value) => value - 1), advantages: now.map(() => 1) })], {
        loss: "ppo",
        feature: "loss:ppo"
      })
      yield* close("the norm", yield* model.norm, 0, 1e-9)
    }))
]
