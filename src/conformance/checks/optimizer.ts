/** AdamW, seen through what a step does to the log-probabilities. */
import * as Effect from "effect/Effect"
import { allClose, type Check, close, inGroup, that } from "../check.js"
import * as Trainer from "../trainer.js"
import { dot, first, length } from "./data.js"

const check = inGroup("optimizer")
const source = "optimizer"

const now = (model: Trainer.Trainer) =>
  Effect.map(model.pass([first()], { forwardOnly: true }), ({ logprobs }) => logprobs[0] ?? [])

const distance = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number =>
  Math.sqrt(dot(a.map((value, i) => value - (b[i] ?? NaN)), a.map((value, i) => value - (b[i] ?? NaN))))

export const optimizer: ReadonlyArray<Check> = [
  check(
    "learns",
    "ten steps on one example lower its loss",
    { source, trained: 12 * length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const before = yield* model.pass([first()], { forwardOnly: true })
        for (let i = 0; i < 10; i++) {
          yield* model.pass([first()])
          yield* model.step()
        }
        const after = yield* model.pass([first()], { forwardOnly: true })
        yield* that((after.loss ?? NaN) < (before.loss ?? NaN), `a loss below ${before.loss}`, () => String(after.loss))
      })
  ),
  check(
    "rate-of-zero",
    "a step at learning rate 0 changes nothing",
    { source, trained: 3 * length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const before = yield* now(model)
        yield* model.pass([first()])
        yield* model.step({ learning_rate: 0 })
        yield* allClose("logprobs", yield* now(model), before, 1e-6)
      })
  ),
  check("scale-free", "with a tiny eps the first step is the same at any scale of the gradient", {
    source,
    trained: 4 * length
  }, (peer) =>
    Effect.gen(function*() {
      const [small, large] = [yield* Trainer.make(peer), yield* Trainer.make(peer)]
      yield* small.pass([first(0.1)])
      yield* large.pass([first(10)])
      for (const model of [small, large]) yield* model.step({ eps: 1e-20 })
      yield* allClose("logprobs", yield* now(large), yield* now(small), 1e-2)
    })),
  check("bias-correction", "the first step is the same at any betas: both moments are corrected for their start", {
    source,
    trained: 4 * length
  }, (peer) =>
    Effect.gen(function*() {
      const [usual, none] = [yield* Trainer.make(peer), yield* Trainer.make(peer)]
      for (const model of [usual, none]) yield* model.pass([first()])
      yield* usual.step({ beta1: 0.9, beta2: 0.95, eps: 1e-20 })
      yield* none.step({ beta1: 0, beta2: 0, eps: 1e-20 })
      yield* allClose("logprobs", yield* now(usual), yield* now(none), 1e-2)
    })),
  check(
    "eps-counts",
    "a large eps makes the step small",
    { source, trained: 6 * length },
    (peer) =>
      Effect.gen(function*() {
        const [plain, damped] = [yield* Trainer.make(peer), yield* Trainer.make(peer)]
        const before = yield* now(plain)
        for (const model of [plain, damped]) yield* model.pass([first()])
        yield* plain.step({ eps: 1e-8 })
        yield* damped.step({ eps: 1e6 })
        const [far, near] = [distance(yield* now(plain), before), distance(yield* now(damped), before)]
        yield* that(near < far / 100, "almost no change at eps 1e6", () => `${near} beside ${far} at 1e-8`)
      })
  ),
  check(
    "moments-persist",
    "a step without a gradient still moves by momentum",
    { source, trained: 4 * length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        yield* model.pass([first()])
        yield* model.step()
        const between = yield* now(model)
        yield* model.step()
        const moved = distance(yield* now(model), between)
        yield* that(moved > 1e-6, "other logprobs after the second step", () => "the same ones")
      })
  ),
  check("decay", "weight decay is decoupled: at rate times decay of 1 the adapter is gone", {
    source,
    trained: 5 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const base = yield* now(model)
      for (let i = 0; i < 3; i++) {
        yield* model.pass([first()])
        yield* model.step()
      }
      const trained = yield* now(model)
      yield* that(distance(trained, base) > 1e-4, "a trained adapter", () => "the base's logprobs")
      // the gradient is so damped that decay alone moves the weights
      yield* model.step({ learning_rate: 0.5, weight_decay: 2, eps: 1e12 })
      yield* allClose("logprobs without the adapter", yield* now(model), base, 1e-3)
    })),
  check("clip", "clipping scales the gradient down to the bound, by its global norm", {
    source,
    feature: "gradient-norm",
    trained: 5 * length
  }, (peer) =>
    Effect.gen(function*() {
      const [clipped, scaled, probe] = [
        yield* Trainer.make(peer),
        yield* Trainer.make(peer),
        yield* Trainer.make(peer)
      ]
      yield* probe.pass([first()])
      const norm = yield* probe.norm
      yield* clipped.pass([first()])
      yield* scaled.pass([first(0.5)])
      // so large an eps makes the step proportional to the gradient
      const damped = { learning_rate: 1e4, eps: 1e4 }
      const told = yield* clipped.step({ ...damped, grad_clip_norm: norm / 2 })
      yield* scaled.step(damped)
      yield* close("the norm that is told, before clipping,", told, norm, 1e-3)
      yield* allClose("logprobs", yield* now(clipped), yield* now(scaled), 1e-2)
    })),
  check(
    "defaults",
    "a step needs no settings: the rate is 1e-4 unless given",
    { source, trained: 4 * length },
    (peer) =>
      Effect.gen(function*() {
        const [silent, spoken] = [yield* Trainer.make(peer), yield* Trainer.make(peer)]
        for (const model of [silent, spoken]) yield* model.pass([first()])
        const outcome = yield* silent.operate("/optim_step", { adam_params: {}, type: "optim_step" })
        yield* Trainer.done("optim_step with no settings", outcome)
        yield* spoken.step({ learning_rate: 1e-4, beta1: 0.9, beta2: 0.95, eps: 1e-12 })
        yield* allClose("logprobs", yield* now(silent), yield* now(spoken), 1e-4)
      })
  )
]
