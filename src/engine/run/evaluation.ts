/**
 * A pass over data, one micro-batch at a time: log-probabilities, loss, and the gradients of what is trained.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { EngineError, type PassResult } from "../Engine.js"
import { backward, headBackward } from "../model/backward.js"
import { forward, logits } from "../model/forward.js"
import { trained } from "../model/linear.js"
import type { LoraLayout } from "../model/lora.js"
import type { Model } from "../model/model.js"
import type { Weights } from "../model/parameters.js"
import { microBatchTokens } from "../model/workspace.js"
import { layMicroBatch } from "./microBatch.js"
import type { PreparedPass } from "./passInput.js"

/** A pass under way. */
export interface Evaluation {
  /** Does one micro-batch; answers whether there are more. */
  readonly step: () => Either.Either<boolean, EngineError>
  /** The result, once no step is left. */
  readonly finish: () => Either.Either<PassResult, EngineError>
}

/** What a pass runs on. */
export interface Subject {
  readonly model: Model
  /** The weights in force for so many rows. */
  readonly weights: (rows: number) => Either.Either<Weights, EngineError>
  /** Address of what is trained. */
  readonly parameters: number
  /** The adapters that are trained; undefined: every parameter is. */
  readonly adapters: { readonly layout: LoraLayout; readonly adapters: number } | undefined
  /** Where the gradients of the pass go: `size` floats, cleared when it begins. */
  readonly gradients: number
  readonly size: number
}

/** Gradients whose squared norm reaches this count as overflowed; below it single precision can still add them up. */
const largestSquare = 1e60

/** Begins a checked pass; with `withGradients` the subject's gradients are those of the steps done. */
export const beginEvaluation = (
  { adapters, gradients, model, parameters, size, weights }: Subject,
  { data, loss, whole }: PreparedPass,
  withGradients: boolean
): Evaluation => {
  const { config: { vocabSize }, kernels } = model
  const outputs: Array<PassResult["outputs"][number]> = []
  const most = microBatchTokens(model.config)
  let sum = 0
  let first = 0
  if (withGradients) kernels.floats(gradients, size).fill(0)

  const step = (): Either.Either<boolean, EngineError> =>
    Either.gen(function*() {
      if (first === data.length) return false
      let end = first + 1
      let tokens = data[first]!.tokens.length
      while (end < data.length && tokens + data[end]!.tokens.length <= most) {
        tokens += data[end++]!.tokens.length
      }
      const batch = yield* layMicroBatch(model, data, first, end)
      const { bounds, entries, logprobs, rows, slopes, targets } = batch
      const w = yield* weights(rows)
      const set = withGradients ? yield* trained(model, adapters, parameters, gradients, rows) : undefined
      const pass = yield* forward(model, w, batch, withGradients)
      const a = pass.activations

      const terms = batch.terms()
      const boundWords = kernels.ints(bounds, rows + 1)
      const startWords = kernels.ints(batch.starts, batch.count + 1)
      const logprobWords = kernels.floats(logprobs, entries)
      const slopeWords = kernels.floats(slopes, entries)
      /** Log-probabilities of rows, whose logits are then in `a.logits`. */
      const read = (row: number, count: number): void => {
        logits(pass, row, count)
        kernels.gatherLogprobs(count, vocabSize, a.logits, a.logitsLse, bounds + row * 4, targets, logprobs)
      }
      const lose = (row: number, end: number): void => {
        sum = loss(terms, logprobWords, slopeWords, boundWords[row]!, boundWords[end]!, sum)
      }
      const inPieces = (body: (row: number, count: number) => void): void => {
        for (let row = 0; row < rows; row += a.headRows) body(row, Math.min(a.headRows, rows - row))
      }
      if (whole) {
        // It sees all log-probabilities of a datum before it gives the first gradient.
        inPieces(read)
        for (let i = 0; i < batch.count; i++) lose(startWords[i]!, startWords[i + 1]!)
      }
      if (!whole || set !== undefined) {
        inPieces((row, count) => {
          if (!whole || rows > a.headRows) read(row, count)
          if (!whole) lose(row, row + count)
          if (set === undefined) return
          kernels.logitGradient(count, vocabSize, a.logits, a.logitsLse, bounds + row * 4, targets, slopes)
          headBackward(pass, set, row, count)
        })
      }
      if (set !== undefined) backward(pass, set)
      let entry = 0
      for (; first < end; first++) {
        const { shape, targets } = data[first]!
        outputs.push({ logprobs: logprobWords.slice(entry, entry + targets.length), shape })
        entry += targets.length
      }
      return first < data.length
    })

  const finish = (): Either.Either<PassResult, EngineError> =>
    Number.isFinite(sum) && (!withGradients || kernels.sumOfSquares(size, gradients) < largestSquare)
      ? Either.right({ outputs, loss: sum })
      : Either.left(
        new EngineError({
          reason: "InvalidInput",
          detail: "the loss or its gradient is not finite: a ratio of probabilities overflowed (check logprobs), " +
            "or training has diverged (lower the learning rate, load a checkpoint); nothing was added"
        })
      )

  return { step, finish }
}
