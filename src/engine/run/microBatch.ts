/**
 * A micro-batch in the kernels' memory: some data of a pass, one after another, without padding.
 *
 * An entry is a target of a token. All addresses are bytes; arrays hold 32-bit words.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Sequences } from "../model/layers.js"
import type { Model } from "../model/model.js"
import type { LossTerms } from "./losses.js"
import type { PreparedDatum } from "./passInput.js"

/** Sequences with the targets of their tokens. */
export interface MicroBatch extends Sequences {
  readonly entries: number
  /** The first entry of each row, and `entries`: `rows + 1` integers. */
  readonly bounds: number
  readonly targets: number
  /** Room for the log-probability of each target. */
  readonly logprobs: number
  /** Room for the derivative of the loss by each of them. */
  readonly slopes: number
  /** Views of the loss's inputs, good until the next `allocate`. */
  readonly terms: () => LossTerms
}

const none = new Float32Array(0)
const inputs = ["weights", "logprobs", "advantages", "clip_low_threshold", "clip_high_threshold", "sequence_ratio_mask"]

/** Lays out `data[first]` to `data[end - 1]`, in the block that the micro-batch before had. */
export const layMicroBatch = (
  { kernels, workspace }: Model,
  data: ReadonlyArray<PreparedDatum>,
  first: number,
  end: number
): Either.Either<MicroBatch, EngineError> => {
  const count = end - first
  let rows = 0
  let entries = 0
  for (let i = first; i < end; i++) {
    rows += data[i]!.tokens.length
    entries += data[i]!.targets.length
  }
  const given = inputs.filter((name) => data[first]!.inputs[name] !== undefined)
  const words = count + 1 + 2 * rows + rows + 1 + (3 + given.length) * entries
  // A power of two, so that batches of any shapes soon find their block.
  return Either.map(workspace.block("micro-batch", 2 ** Math.ceil(Math.log2(words))), (starts) => {
    const tokens = starts + (count + 1) * 4
    const positions = tokens + rows * 4
    const bounds = positions + rows * 4
    const targets = bounds + (rows + 1) * 4
    const logprobs = targets + entries * 4
    const slopes = logprobs + entries * 4
    const input = (name: string): number => slopes + (1 + given.indexOf(name)) * entries * 4

    const startWords = kernels.ints(starts, count + 1)
    const tokenWords = kernels.ints(tokens, rows)
    const positionWords = kernels.ints(positions, rows)
    const boundWords = kernels.ints(bounds, rows + 1)
    const targetWords = kernels.ints(targets, entries)
    const inputWords = given.map((name) => kernels.floats(input(name), entries))
    let row = 0
    let entry = 0
    startWords[0] = 0
    boundWords[0] = 0
    for (let i = first; i < end; i++) {
      const datum = data[i]!
      tokenWords.set(datum.tokens, row)
      targetWords.set(datum.targets, entry)
      given.forEach((name, n) => inputWords[n]!.set(datum.inputs[name]!, entry))
      for (let t = 0; t < datum.tokens.length; t++) {
        positionWords[row] = t
        entry += datum.perToken
        boundWords[++row] = entry
      }
      startWords[i - first + 1] = row
    }
    const view = (name: string): Float32Array => given.includes(name) ? kernels.floats(input(name), entries) : none
    const terms = (): LossTerms => ({
      weights: view("weights"),
      sampled: view("logprobs"),
      advantages: view("advantages"),
      low: view("clip_low_threshold"),
      high: view("clip_high_threshold"),
      mask: view("sequence_ratio_mask")
    })
    return { rows, count, starts, tokens, positions, entries, bounds, targets, logprobs, slopes, terms }
  })
}
