/**
 * Supervised fine-tuning: examples with weights, held-out loss by the token and by the byte, a schedule, checkpoints.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Future from "../client/Future.js"
import type * as TrainingClient from "../client/TrainingClient.js"
import type { Datum } from "../protocol/Datum.js"
import * as TensorData from "../protocol/TensorData.js"
import type { LossFnOutput } from "../protocol/Training.js"
import type { CheckpointPolicy } from "../runs/CheckpointPolicy.js"
import type * as Dataset from "../runs/Dataset.js"
import type * as Run from "../runs/Run.js"
import * as Schedule from "../runs/Schedule.js"
import type { TinkexError } from "../TinkexError.js"
import type { Tokenizer } from "../tokenizer/Tokenizer.js"
import * as Hyperparameters from "./Hyperparameters.js"

/**
 * Loss of data under weights: `nll` is minus the mean log-probability of a token that counts, in nats; `bpb` the same by the
 * byte of text, in bits, where a tokenizer tells how many bytes there are.
 *
 * @since 0.2.0
 * @category models
 */
export interface Loss {
  readonly nll: number
  readonly bpb: number | undefined
  /** Tokens that count: those with a weight above 0. */
  readonly tokens: number
}

/** The bytes of the text of tokens that count, run by run: a run is decoded as a whole, control tokens are no text. */
const bytesOf = (tokenizer: Tokenizer, targets: ArrayLike<number>, weights: ArrayLike<number>): number => {
  const special = new Set(tokenizer.specialTokens.values())
  const encoder = new TextEncoder()
  let bytes = 0
  let run: Array<number> = []
  const close = (): void => {
    if (run.length > 0) bytes += encoder.encode(tokenizer.decode(run)).length
    run = []
  }
  for (let i = 0; i < targets.length; i++) {
    const token = targets[i]! // i is below the length
    if (weights[i]! > 0 && !special.has(token)) run.push(token)
    else close()
  }
  close()
  return bytes
}

/**
 * The loss of data from the log-probabilities of their targets. The mean over tokens counts each by its weight:
 * `-Σ w log p / Σ w`. For bits per byte weights only say what counts: `-Σ log p / (ln 2 · bytes)`.
 *
 * @since 0.2.0
 * @category getters
 */
export const lossOf = (
  data: ReadonlyArray<Datum>,
  outputs: ReadonlyArray<LossFnOutput>,
  tokenizer?: Tokenizer
): Loss => {
  const special = new Set(tokenizer?.specialTokens.values() ?? [])
  let [weighted, weightSum, plain, bytes, tokens] = [0, 0, 0, 0, 0]
  data.forEach(({ lossFnInputs }, d) => {
    const logprobs = outputs[d]?.["logprobs"]?.data ?? []
    const targets = Array.from(TensorData.toArray(lossFnInputs["target_tokens"]!), Number) // cross-entropy has both
    const weights = lossFnInputs["weights"]?.data ?? new Float32Array(targets.length).fill(1)
    for (let i = 0; i < targets.length; i++) {
      const [w, p] = [Number(weights[i]), Number(logprobs[i])]
      if (w > 0) tokens++
      weighted -= w === 0 ? 0 : w * p
      weightSum += w
      if (w > 0 && !special.has(targets[i]!)) plain -= p // i is below the length
    }
    if (tokenizer !== undefined) bytes += bytesOf(tokenizer, targets, Array.from(weights, Number))
  })
  return {
    nll: weightSum === 0 ? 0 : weighted / weightSum,
    bpb: tokenizer === undefined || bytes === 0 ? undefined : plain / (Math.LN2 * bytes),
    tokens
  }
}

/**
 * The loss of data under a model's weights as they are now: those of the last step that was handed in before.
 *
 * @since 0.2.0
 * @category evaluation
 */
export const evaluate = (
  client: TrainingClient.Client,
  data: ReadonlyArray<Datum>,
  tokenizer?: Tokenizer
): Effect.Effect<Loss, TinkexError> =>
  Effect.map(
    Effect.flatMap(client.forward(data, "cross_entropy"), Future.await),
    ({ lossFnOutputs }) => lossOf(data, lossFnOutputs, tokenizer)
  )

/**
 * What to train on.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options<E = never, R = never> {
  readonly data: Dataset.Dataset<Datum, E, R>
  /** Times that all data are seen; 1 unless given. */
  readonly epochs?: number | undefined
  /** Of the first step, or a schedule; the recommended one for the model, falling to 0 at the end, unless given. */
  readonly learningRate?: number | Schedule.Schedule | undefined
  /** Data that are never trained on, whose loss is told in the rows of steps as `test/nll` and `test/bpb`. */
  readonly heldOut?: ReadonlyArray<Datum> | undefined
  /** Every how many steps the held-out loss is taken; 10 unless given. */
  readonly evaluateEvery?: number | undefined
  /** For bits per byte. */
  readonly tokenizer?: Tokenizer | undefined
  /** Every 20 steps, the last three kept, unless given. */
  readonly checkpoint?: CheckpointPolicy | undefined
  /** Steps that are handed in and not done; 2 unless given. */
  readonly depth?: number | undefined
}

/**
 * Trains a run on examples, from where it is to the end. Held-out loss is that of the weights before the step in whose row it
 * stands.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Dataset, type Datum, Run, Supervised } from "tinkex"
 *
 * const program = (examples: ReadonlyArray<Datum.Datum>, heldOut: ReadonlyArray<Datum.Datum>) =>
 *   Effect.scoped(Effect.gen(function*() {
 *     const run = yield* Run.open("runs/my-sft", { config: { baseModel: "tinkex/nano", rank: 16 } })
 *     const data = yield* Dataset.fromArray(examples, { batchSize: 8 })
 *     return yield* Supervised.train(run, { data, heldOut, epochs: 3 })
 *   }))
 * ```
 *
 * @since 0.2.0
 * @category training
 */
export const train = <E = never, R = never>(
  run: Run.Run,
  options: Options<E, R>
): Effect.Effect<Run.Summary, E | Run.TrainError | Hyperparameters.NotCalibrated, R> =>
  Effect.gen(function*() {
    const { data, heldOut = [], tokenizer } = options
    const epochs = options.epochs ?? 1
    const total = epochs * data.batchesPerEpoch
    const rate = options.learningRate ?? (yield* Hyperparameters.learningRate(run.config.baseModel))
    return yield* run.train<E | TinkexError, R>({
      batches: data,
      epochs,
      loss: "cross_entropy",
      adam: { learningRate: typeof rate === "number" ? Schedule.linear(rate, total) : rate, eps: 1e-8 },
      checkpoint: options.checkpoint ?? { every: 20, keep: 3 },
      depth: options.depth,
      metrics: ({ data, output }) => {
        const { bpb } = lossOf(data, output.lossFnOutputs ?? [], tokenizer)
        return bpb === undefined ? {} : { train_mean_bpb: bpb }
      },
      evaluate: heldOut.length === 0 ? undefined : {
        every: options.evaluateEvery ?? 10,
        run: ({ client }) =>
          Effect.map(
            evaluate(client, heldOut, tokenizer),
            ({ bpb, nll }) => ({ "test/nll": nll, ...(bpb === undefined ? {} : { "test/bpb": bpb }) })
          )
      }
    })
  })
