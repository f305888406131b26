/** Losses against closed forms of the log-probabilities that the server itself tells. */
import * as Effect from "effect/Effect"
import * as Datum from "../../protocol/Datum.js"
import * as TensorData from "../../protocol/TensorData.js"
import { allClose, type Check, close, Deviation, inGroup, that } from "../check.js"
import type { Peer } from "../peer.js"
import * as Trainer from "../trainer.js"
import { datum, dot, first, inputs, length, second, targets, weighted } from "./data.js"

const check = inGroup("losses")
const source = "losses"

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value))

/** Offsets of the old log-probabilities from today's: ratios below, at and above every usual clip bound. */
const offsets = [0, 0.1, -0.1, 0.5, -0.5, -1.6]
const advantages = [1, -0.5, 0.25, 2, 1, -1]

/** What a policy loss is computed from, one token. */
interface Token {
  /** Today's log-probability. */
  readonly p: number
  /** The old one. */
  readonly q: number
  readonly ratio: number
  readonly advantage: number
}

type Form = (token: Token) => number

/** Trains on tokens whose old log-probabilities lie at known distances, and compares the loss with its closed form. */
const policy = (
  name: string,
  loss: string,
  form: Form,
  options: { readonly config?: Readonly<Record<string, number>>; readonly title: string }
): Check =>
  check(
    name,
    options.title,
    { source, feature: `loss:${loss}`, trained: 2 * length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const { logprobs: [p = []] } = yield* model.pass([first()], { forwardOnly: true })
        const q = p.map((value, i) => value - offsets[i]!) // as many offsets as tokens
        const result = yield* model.pass([datum({ logprobs: q, advantages: [...advantages] })], {
          loss,
          config: options.config,
          feature: `loss:${loss}`
        })
        let expected = 0
        const now = result.logprobs[0] ?? []
        for (let i = 0; i < now.length; i++) {
          const token = { p: now[i]!, q: Math.fround(q[i]!), advantage: advantages[i]! } // all of one length
          expected += form({ ...token, ratio: Math.exp(token.p - token.q) })
        }
        yield* allClose("logprobs", now, p, 1e-4)
        yield* close("loss:sum", result.loss, expected, 1e-3)
      })
  )

/** The loss at a weight for each token, and what the server's own log-probabilities make of it. */
const crossEntropy = (name: string, title: string, weights: ReadonlyArray<number>): Check =>
  check(name, title, { source, trained: length }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const { logprobs, loss } = yield* model.pass([weighted(...weights)])
      const expected = -dot(weights, logprobs[0] ?? [])
      yield* that(logprobs[0]?.length === length, `${length} logprobs`, () => `${logprobs[0]?.length ?? 0}`)
      yield* close("loss:sum", loss, expected, 1e-4)
    }))

/** A pass that must be refused, at once or as a failed future, and never run for ever or silently. */
const refused = (name: string, title: string, of: Datum.Datum, loss = "cross_entropy"): Check =>
  check(name, title, { source: "errors", trained: length }, (peer) => refusal(peer, of, loss))

/** As it goes over the wire, whatever our own constructors would say to it. */
const floats = (...values: ReadonlyArray<number>): TensorData.TensorData => ({
  dtype: "float32",
  data: Float32Array.from(values),
  shape: [values.length]
})

const refusal = (peer: Peer, of: Datum.Datum, loss: string) =>
  Effect.gen(function*() {
    const model = yield* Trainer.make(peer)
    const answer = yield* model.submitPass([of], { loss })
    if (answer.status >= 400 && answer.status < 500) return
    const outcome = yield* peer.outcome(yield* Trainer.accepted(answer), { protobuf: true })
    if (outcome._tag === "Done") {
      return yield* new Deviation({ expected: "a refusal", got: "a result" })
    }
  })

export const losses: ReadonlyArray<Check> = [
  crossEntropy("cross-entropy", "cross_entropy is the sum of minus weight times logprob", inputs.map(() => 1)),
  crossEntropy("cross-entropy-weights", "weights may be fractions, zero and negative, and are not normalised", [
    0.5,
    -1,
    0,
    3,
    1e-3,
    -0.25
  ]),
  crossEntropy(
    "cross-entropy-zero",
    "weights of zero give a loss of zero and logprobs all the same",
    inputs.map(() => 0)
  ),
  check("sum-over-data", "the loss of a batch is the sum of the losses of its data", {
    source,
    trained: 4 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const one = yield* model.pass([first()], { forwardOnly: true })
      const two = yield* model.pass([second()], { forwardOnly: true })
      const both = yield* model.pass([first(), second()], { forwardOnly: true })
      yield* close("loss:sum of both", both.loss, (one.loss ?? NaN) + (two.loss ?? NaN), 1e-4)
      yield* allClose("logprobs of the second datum", both.logprobs[1] ?? [], two.logprobs[0] ?? [], 1e-4)
    })),
  check("forward-equals-forward-backward", "forward only tells the same loss and logprobs", {
    source,
    trained: 2 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const forward = yield* model.pass([first()], { forwardOnly: true })
      const both = yield* model.pass([first()])
      yield* close("loss:sum", both.loss, forward.loss ?? NaN, 1e-5)
      yield* allClose("logprobs", both.logprobs[0] ?? [], forward.logprobs[0] ?? [], 1e-5)
    })),
  check(
    "chunks",
    "an input in two chunks is the input in one",
    { source, trained: 2 * length },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const one = yield* model.pass([first()], { forwardOnly: true })
        const two = yield* model.pass([
          Datum.make({
            modelInput: {
              chunks: [
                { type: "encoded_text", tokens: inputs.slice(0, 2) },
                { type: "encoded_text", tokens: inputs.slice(2) }
              ]
            },
            lossFnInputs: { target_tokens: [...targets], weights: inputs.map(() => 1) }
          })
        ], { forwardOnly: true })
        yield* allClose("logprobs", two.logprobs[0] ?? [], one.logprobs[0] ?? [], 1e-5)
      })
  ),
  check("soft-targets", "targets of (N, K) are weighted sums over K, with logprobs of (N, K)", {
    source,
    feature: "soft-targets",
    trained: 2 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const hard = yield* model.pass([first()], { forwardOnly: true })
      const pairs = targets.map((target, i) => [target, (target + 7 + i) % 40 + 1])
      const weights = targets.map((_, i) => [0.75 - 0.1 * i, 0.25 + 0.1 * i])
      const soft = yield* model.pass([datum({ target_tokens: pairs, weights })], { feature: "soft-targets" })
      const flat = soft.logprobs[0] ?? []
      yield* that(flat.length === 2 * length, `${2 * length} logprobs`, () => `${flat.length}`)
      yield* allClose("logprobs of the first targets", flat.filter((_, i) => i % 2 === 0), hard.logprobs[0] ?? [], 1e-4)
      yield* close("loss:sum", soft.loss, -dot(weights.flat(), flat), 1e-4)
    })),
  check("sparse-targets", "sparse (CSR) targets and weights are the dense ones", {
    source,
    feature: "sparse-targets",
    trained: 2 * length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const pairs = targets.map((target) => [target, (target % 40) + 1])
      const weights = targets.map((_, i) => i % 2 === 0 ? [1, 0.5] : [0.5, 1])
      const dense = yield* model.pass([datum({ target_tokens: pairs, weights })], { feature: "soft-targets" })
      const sparse = yield* model.pass([
        datum({
          target_tokens: TensorData.toSparse(TensorData.make(pairs, { dtype: "int64" })),
          weights: TensorData.toSparse(TensorData.make(weights, { dtype: "float32" }))
        })
      ], { feature: "sparse-targets" })
      yield* close("loss:sum", sparse.loss, dense.loss ?? NaN, 1e-4)
    })),
  policy("importance-sampling", "importance_sampling", ({ advantage, ratio }) => -ratio * advantage, {
    title: "importance_sampling is the sum of minus ratio times advantage"
  }),
  policy("ppo", "ppo", ({ advantage, ratio }) => -Math.min(ratio * advantage, clamp(ratio, 0.8, 1.2) * advantage), {
    title: "ppo takes the smaller of the plain and the clipped product; bounds 0.8 and 1.2 unless given"
  }),
  policy(
    "ppo-bounds",
    "ppo",
    ({ advantage, ratio }) => -Math.min(ratio * advantage, clamp(ratio, 0.95, 1.05) * advantage),
    {
      config: { clip_low_threshold: 0.95, clip_high_threshold: 1.05 },
      title: "ppo's bounds are absolute ratios and can be set"
    }
  ),
  policy("cispo", "cispo", ({ advantage, p, ratio }) => -clamp(ratio, 0.8, 1.2) * p * advantage, {
    config: { clip_low_threshold: 0.8, clip_high_threshold: 1.2 },
    title: "cispo weights the logprob by the clipped ratio and the advantage"
  }),
  policy(
    "dro",
    "dro",
    ({ advantage, p, q }) => -(p * advantage - 0.05 / 2 * (p - q) ** 2),
    {
      config: { beta: 0.05 },
      title: "dro is minus (logprob times advantage less half beta times the squared distance)"
    }
  ),
  check("metric-names", "metrics are named name:reduction, with one colon; loss:sum is among them", {
    source: "metrics",
    trained: length
  }, (peer) =>
    Effect.gen(function*() {
      const model = yield* Trainer.make(peer)
      const { loss, metrics } = yield* model.pass([first()])
      yield* that(loss !== undefined, "a metric loss:sum", () => Object.keys(metrics).join(", ") || "no metrics")
      for (const name of Object.keys(metrics)) {
        yield* that(name.split(":").length === 2, "one colon in every metric's name", () => name)
      }
    })),
  refused(
    "advantages-missing",
    "a policy loss without advantages is refused",
    datum({ logprobs: [...offsets] }),
    "importance_sampling"
  ),
  refused(
    "logprobs-missing",
    "a policy loss without old logprobs is refused",
    datum({ advantages: [...advantages] }),
    "importance_sampling"
  ),
  refused("unknown-loss", "a loss that does not exist is refused", first(), "no_such_loss"),
  refused("not-finite", "weights that are not finite are refused", datum({ weights: floats(1, NaN, 1, 1, 1, 1) })),
  refused(
    "infinite",
    "an advantage that is infinite is refused",
    datum({
      logprobs: inputs.map(() => -1),
      advantages: floats(1, Infinity, 1, 1, 1, 1)
    }),
    "importance_sampling"
  ),
  refused(
    "target-out-of-vocabulary",
    "a target beyond the vocabulary is refused",
    datum({
      target_tokens: [5, 12, 12, 15, 3, 2_000_000_000],
      weights: inputs.map(() => 1)
    })
  ),
  refused(
    "negative-target",
    "a negative target is refused",
    datum({
      target_tokens: [5, 12, -12, 15, 3, 9],
      weights: inputs.map(() => 1)
    })
  )
]
