/**
 * Losses of your own: any differentiable function of the log-probabilities of the targets.
 *
 * The service computes gradients of cross-entropy, which is exactly linear in its weights. So the log-probabilities are
 * asked for first, your loss C gives dC/d logprob, and a second pass with `weights = -dC/d logprob` has the gradient of C
 * (docs/protocol/training.md#losses-of-your-own).
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Future from "../client/Future.js"
import { telemetryOf } from "../client/training/methods.js"
import type { Client } from "../client/TrainingClient.js"
import type { Datum } from "../protocol/Datum.js"
import { InvalidInput } from "../protocol/InvalidInput.js"
import * as TensorData from "../protocol/TensorData.js"
import type { ForwardBackwardOutput } from "../protocol/Training.js"
import { mayHaveArrived, type TinkexError } from "../TinkexError.js"
import type { Logprobs, Regularizer } from "./Regularizer.js"

/**
 * A loss at one point: its value, its derivative by every log-probability (a list of numbers for each datum, as long as
 * the datum has targets), and figures to report.
 *
 * @since 0.1.0
 * @category models
 */
export interface Evaluation {
  readonly loss: number
  readonly gradients: ReadonlyArray<ArrayLike<number>>
  readonly metrics?: Readonly<Record<string, number>> | undefined
}

/**
 * A loss of your own, plain or as an Effect.
 *
 * @since 0.1.0
 * @category models
 */
export interface CustomLoss<E = never, R = never> {
  (data: ReadonlyArray<Datum>, logprobs: ReadonlyArray<Logprobs>): Evaluation | Effect.Effect<Evaluation, E, R>
}

/**
 * What a regularised loss is made of. Norms are L2 over all log-probabilities of the batch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  readonly total: number
  readonly gradientNorm: number
  readonly base: { readonly value: number; readonly gradientNorm: number }
  readonly regularizers: Readonly<
    Record<string, {
      readonly value: number
      readonly weight: number
      /** `weight * value`, what it adds to the total. */
      readonly contribution: number
      readonly gradientNorm: number
      readonly weightedGradientNorm: number
      readonly metrics: Readonly<Record<string, number>>
    }>
  >
}

const norm = (gradients: ReadonlyArray<ArrayLike<number>>): number => {
  let square = 0
  for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) square += gradient[i] * gradient[i]
  return Math.sqrt(square)
}

const refuse = (field: string, expected: string, actual: string, index?: number) =>
  new InvalidInput({ field, expected, actual, index })

/**
 * Evaluates a loss and holds what it gives against the batch: one finite gradient for each log-probability.
 *
 * @since 0.1.0
 * @category combinators
 */
export const evaluate = <E, R>(
  self: CustomLoss<E, R>,
  data: ReadonlyArray<Datum>,
  logprobs: ReadonlyArray<Logprobs>
): Effect.Effect<Evaluation, E | InvalidInput, R> =>
  Effect.flatMap(
    Effect.suspend(() => {
      const given = self(data, logprobs)
      return Effect.isEffect(given) ? given : Effect.succeed(given)
    }),
    (evaluation): Effect.Effect<Evaluation, InvalidInput> => {
      const { gradients, loss } = evaluation
      if (!Number.isFinite(loss)) {
        return Effect.fail(refuse("customLoss.loss", "a finite number", String(loss)))
      }
      if (gradients.length !== data.length) {
        return Effect.fail(
          refuse("customLoss.gradients", `${data.length} gradients, one for each datum`, `${gradients.length}`)
        )
      }
      for (let d = 0; d < gradients.length; d++) {
        const gradient = gradients[d]
        const expected = logprobs[d].values.length
        if (gradient.length !== expected) {
          return Effect.fail(refuse(
            "customLoss.gradients",
            `${expected} numbers, one for each log-probability of the datum`,
            `${gradient.length}`,
            d
          ))
        }
        for (let i = 0; i < expected; i++) {
          if (!Number.isFinite(gradient[i])) {
            return Effect.fail(refuse(`customLoss.gradients[${d}]`, "finite numbers", String(gradient[i]), i))
          }
        }
      }
      return Effect.succeed(evaluation)
    }
  )

/**
 * Adds weighted regularisers to a loss: C + Σ wᵢ rᵢ, with the sum of the gradients. Each is reported as
 * `<name>` (its value) and `<name>.contribution` in the metrics, and in full to `onReport`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const regularized: {
  (
    regularizers: ReadonlyArray<Regularizer>,
    options?: { readonly onReport?: ((report: Report) => Effect.Effect<void>) | undefined }
  ): <E, R>(self: CustomLoss<E, R>) => CustomLoss<E | InvalidInput, R>
  <E, R>(
    self: CustomLoss<E, R>,
    regularizers: ReadonlyArray<Regularizer>,
    options?: { readonly onReport?: ((report: Report) => Effect.Effect<void>) | undefined }
  ): CustomLoss<E | InvalidInput, R>
} = dual((args) => typeof args[0] === "function", <E, R>(
  self: CustomLoss<E, R>,
  regularizers: ReadonlyArray<Regularizer>,
  options: { readonly onReport?: ((report: Report) => Effect.Effect<void>) | undefined } = {}
): CustomLoss<E | InvalidInput, R> =>
(data, logprobs) =>
  Effect.gen(function*() {
    const names = new Set<string>()
    for (const [i, { name, weight }] of regularizers.entries()) {
      if (name === "" || names.has(name)) {
        return yield* Effect.fail(refuse("regularizers", "names that are not empty and differ", `"${name}"`, i))
      }
      if (!(weight >= 0) || !Number.isFinite(weight)) {
        return yield* Effect.fail(refuse("regularizers.weight", "a finite number, at least 0", String(weight), i))
      }
      names.add(name)
    }
    const base = yield* evaluate(self, data, logprobs)
    const gradients = base.gradients.map((gradient) => Float64Array.from(gradient))
    const metrics: Record<string, number> = { ...base.metrics }
    const reports: Record<string, Report["regularizers"][string]> = {}
    let total = base.loss
    for (const regularizer of regularizers) {
      const { name, weight } = regularizer
      const given = yield* regularizer.apply(data, logprobs)
      const penalty = yield* evaluate<never, never>(
        () => ({ loss: given.value, gradients: given.gradients }),
        data,
        logprobs
      ).pipe(Effect.mapError((error) => error.within(`regularizers.${name}`)))
      total += weight * penalty.loss
      for (let d = 0; d < gradients.length; d++) {
        const from = penalty.gradients[d]
        const to = gradients[d]
        for (let i = 0; i < to.length; i++) to[i] += weight * from[i]
      }
      const own = norm(penalty.gradients)
      metrics[name] = penalty.loss
      metrics[`${name}.contribution`] = weight * penalty.loss
      reports[name] = {
        value: penalty.loss,
        weight,
        contribution: weight * penalty.loss,
        gradientNorm: own,
        weightedGradientNorm: weight * own,
        metrics: given.metrics
      }
    }
    if (options.onReport !== undefined) {
      yield* options.onReport({
        total,
        gradientNorm: norm(gradients),
        base: { value: base.loss, gradientNorm: norm(base.gradients) },
        regularizers: reports
      })
    }
    return { loss: total, gradients, metrics }
  }))

/**
 * Direct preference optimisation (arXiv:2305.18290, equation 7): data come in pairs, chosen then rejected, and the loss is
 * the mean over pairs of -log σ(β (Δchosen - Δrejected)), Δ being the weighted log-probability of a completion above its
 * reference. `reference` gives that of the frozen model for each datum; `weights` says which targets count, those with
 * the weights of the datum's own `weights` unless given.
 *
 * Metrics: `dpo.accuracy`, the share of pairs in which the chosen one gained more, and `dpo.margin`, the mean of
 * β (Δchosen - Δrejected).
 *
 * @since 0.1.0
 * @category constructors
 */
export const dpo = (options: {
  /** β, 0.1 unless given; above 0. */
  readonly beta?: number | undefined
  readonly reference: (datum: Datum, index: number) => ArrayLike<number | null>
  readonly weights?: ((datum: Datum, index: number) => ArrayLike<number>) | undefined
}): CustomLoss<InvalidInput> =>
(data, logprobs) => {
  const beta = options.beta ?? 0.1
  if (!(beta > 0)) return Effect.fail(refuse("dpo.beta", "a number above 0", String(beta)))
  if (data.length === 0 || data.length % 2 !== 0) {
    return Effect.fail(refuse("dpo.data", "pairs: chosen, rejected, chosen, rejected …", `${data.length} data`))
  }
  const gain = new Float64Array(data.length)
  const weights: Array<Float64Array> = []
  for (let d = 0; d < data.length; d++) {
    const { values } = logprobs[d]
    const reference = options.reference(data[d], d)
    const own: ArrayLike<number> = options.weights?.(data[d], d)
      ?? Float64Array.from(data[d].lossFnInputs["weights"]?.data ?? new Float64Array(values.length).fill(1), Number)
    for (const [name, list] of [["reference", reference], ["weights", own]] as const) {
      if (list.length !== values.length) {
        return Effect.fail(refuse(`dpo.${name}`, `${values.length} numbers, one for each target`, `${list.length}`, d))
      }
    }
    for (let i = 0; i < values.length; i++) {
      if (own[i] !== 0) gain[d] += own[i] * (values[i] - (reference[i] ?? 0))
    }
    weights.push(Float64Array.from(own))
  }
  const pairs = data.length / 2
  const gradients = weights.map((own) => new Float64Array(own.length))
  let loss = 0
  let margin = 0
  let accuracy = 0
  for (let p = 0; p < pairs; p++) {
    const difference = beta * (gain[2 * p] - gain[2 * p + 1])
    // -log σ(x) without overflow
    loss += (Math.max(-difference, 0) + Math.log1p(Math.exp(-Math.abs(difference)))) / pairs
    margin += difference / pairs
    accuracy += (difference > 0 ? 1 : 0) / pairs
    const slope = -beta / (1 + Math.exp(difference)) / pairs
    for (const [d, sign] of [[2 * p, 1], [2 * p + 1, -1]] as const) {
      for (let i = 0; i < weights[d].length; i++) gradients[d][i] = sign * slope * weights[d][i]
    }
  }
  return Effect.succeed({ loss, gradients, metrics: { "dpo.accuracy": accuracy, "dpo.margin": margin } })
}

/**
 * What training with a loss of your own gives. `metrics` are the service's, overwritten by the loss' own; the service's
 * `loss:sum` is that of the second pass, Σ g·logprob, while `loss` is the value of C.
 *
 * @since 0.1.0
 * @category models
 */
export interface CustomOutput extends ForwardBackwardOutput {
  readonly loss: number
}

const checkDatum = (datum: Datum, index: number): InvalidInput | undefined => {
  const targets = datum.lossFnInputs["target_tokens"]
  if (targets === undefined) {
    return refuse(
      `data[${index}].lossFnInputs.target_tokens`,
      "the targets whose log-probabilities the loss takes",
      "none"
    )
  }
  const other = Object.keys(datum.lossFnInputs).find((key) => key !== "target_tokens" && key !== "weights")
  return other === undefined ? undefined : refuse(
    `data[${index}].lossFnInputs.${other}`,
    "only target_tokens and weights: a custom loss takes everything else by closure",
    "another input"
  )
}

const withWeights = (datum: Datum, weights: Float32Array): Datum => {
  const targets = datum.lossFnInputs["target_tokens"]
  const dense = TensorData.isSparse(targets) ? TensorData.toDense(targets) : targets
  return {
    modelInput: datum.modelInput,
    lossFnInputs: { target_tokens: dense, weights: { dtype: "float32", shape: dense.shape, data: weights } }
  }
}

/** The values of regularisers: metrics beside which there is their contribution. */
const regularizersOf = (metrics: Readonly<Record<string, number>>): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(metrics).filter(([name]) => Object.hasOwn(metrics, `${name}.contribution`)))

const logprobsOf = (output: ForwardBackwardOutput): Effect.Effect<ReadonlyArray<Logprobs>, InvalidInput> =>
  Effect.forEach(output.lossFnOutputs, ({ logprobs }, index) =>
    logprobs === undefined
      ? Effect.fail(refuse(`lossFnOutputs[${index}].logprobs`, "log-probabilities from the service", "none"))
      : Effect.succeed({
        values: Float64Array.from(logprobs.data, Number),
        shape: logprobs.shape
      }))

/**
 * A pass forward, your loss on its log-probabilities, and a pass forward and backward with the gradient of your loss. The
 * effect completes when the second pass is acknowledged. Nothing is added to the gradients if your loss fails. The weights
 * of the data do not enter, but your loss can read them.
 *
 * @since 0.1.0
 * @category combinators
 */
export const forwardBackwardCustom = <E = never, R = never>(
  training: Client,
  data: ReadonlyArray<Datum>,
  loss: CustomLoss<E, R>
): Effect.Effect<Future.Future<CustomOutput>, E | TinkexError, R> =>
  Effect.gen(function*() {
    for (let d = 0; d < data.length; d++) {
      const problem = checkDatum(data[d], d)
      if (problem !== undefined) return yield* Effect.fail(problem)
    }
    const unweighted = data.map((datum) =>
      withWeights(datum, new Float32Array(TensorData.size(datum.lossFnInputs["target_tokens"])))
    )
    const forward = yield* Effect.flatMap(training.forward(unweighted, "cross_entropy"), Future.await)
    const logprobs = yield* logprobsOf(forward)
    const [took, evaluation] = yield* Effect.timed(evaluate(loss, data, logprobs))
    yield* telemetryOf(training)?.emit({
      _tag: "CustomLoss",
      modelId: training.modelId,
      loss: evaluation.loss,
      regularizers: regularizersOf(evaluation.metrics ?? {}),
      durationMs: Duration.toMillis(took)
    }) ?? Effect.void
    const backward = yield* Effect.mapError(
      training.forwardBackward(
        data.map((datum, d) => withWeights(datum, Float32Array.from(evaluation.gradients[d], (g) => -g))),
        "cross_entropy"
      ),
      mayHaveArrived
    )
    return Future.map(backward, (output) => ({
      ...output,
      metrics: { ...output.metrics, ...evaluation.metrics },
      loss: evaluation.loss
    }))
  })
