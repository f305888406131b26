/**
 * From logits to a token: temperature, then top-k, then top-p, renormalise, draw.
 *
 * Exponentials and logarithms are the kernels', so a draw gives the same token on every machine, and a log-probability at
 * temperature 1 has the bits that a training pass gives for the same logits.
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"

/**
 * Which log-probabilities are reported for sampled tokens: `scaled` are those of the logits divided by the temperature,
 * `raw` those at temperature 1. Neither is renormalised after top-k and top-p. At temperature 0 both are raw.
 */
export type SampledLogprobs = "scaled" | "raw"

/** How one token is to be drawn. `topK` -1 and `topP` 1 are off. */
export interface DrawOptions {
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly logprobs: SampledLogprobs
}

/** Draws tokens from rows of logits. It holds only scratch memory: a draw depends on its arguments alone. */
export interface Drawer {
  /**
   * The token drawn by `uniform` in `[0, 1)` from the row that starts at `offset`; its log-probability is then in
   * `logprob`. -1 if the row holds no finite maximum.
   */
  readonly draw: (logits: Float32Array, offset: number, options: DrawOptions, uniform: number) => number
  /** Log-probability of the last drawn token. */
  logprob: number
  /** Log-probability at temperature 1 of a given token. */
  readonly score: (logits: Float32Array, offset: number, token: number) => number
  /** The `k` likeliest tokens of a row, likeliest first and lower ids first among equals, into `tokens` and `logprobs` at `at`. */
  readonly top: (
    logits: Float32Array,
    offset: number,
    temperature: number,
    k: number,
    tokens: Int32Array,
    logprobs: Float32Array,
    at: number
  ) => void
}

/** The temperature at which log-probabilities of sampled tokens are reported. */
export const reportedTemperature = (temperature: number, logprobs: SampledLogprobs): number =>
  temperature === 0 || logprobs === "raw" ? 1 : temperature

/** Ids are below this: with a logit's 32 bits they make a number that double precision holds exactly. */
const idRange = 2 ** 21

/** Reserves scratch for rows of `vocabSize` logits. */
export const makeDrawer = (kernels: Kernels, vocabSize: number): Either.Either<Drawer, EngineError> =>
  Either.map(kernels.allocate(2 * vocabSize), (address) => drawerAt(kernels, vocabSize, address))

/**
 * Tokens from the likeliest on, the lowest id first among equals: as many as are popped are sorted, the rest is not.
 */
const makeRanking = (vocabSize: number) => {
  const single = new Float32Array(vocabSize)
  const singleBits = new Int32Array(single.buffer)
  const heap = new Float64Array(vocabSize)
  let size = 0

  // A binary heap of numbers that order tokens: the logit's bits, made to sort as unsigned, then the id from above. So the
  // greatest number is the likeliest token, the one with the lowest id among equals.
  const sift = (hole: number): void => {
    const key = heap[hole]!
    let child = 2 * hole + 1
    while (child < size) {
      if (child + 1 < size && heap[child + 1]! > heap[child]!) child++
      if (heap[child]! < key) break
      heap[hole] = heap[child]!
      hole = child
      child = 2 * hole + 1
    }
    heap[hole] = key
  }
  const heapify = (logits: Float32Array, offset: number): void => {
    // Adding 0 makes -0 and 0 the same.
    for (let i = 0; i < vocabSize; i++) single[i] = logits[offset + i]! + 0
    for (let i = 0; i < vocabSize; i++) {
      const bits = singleBits[i]!
      heap[i] = ((bits ^ ((bits >> 31) | 0x80000000)) >>> 0) * idRange + (idRange - 1 - i)
    }
    size = vocabSize
    for (let i = (vocabSize >> 1) - 1; i >= 0; i--) sift(i)
  }
  const tokenAt = (place: number): number => idRange - 1 - heap[place]! % idRange
  /** Moves the likeliest remaining token behind the heap: popped tokens stand at the array's end, in reverse. */
  const pop = (): number => {
    const top = heap[0]!
    size--
    heap[0] = heap[size]!
    heap[size] = top
    if (size > 1) sift(0)
    return tokenAt(size)
  }
  return { heapify, pop, tokenAt }
}

const drawerAt = (kernels: Kernels, vocabSize: number, rowAddress: number): Drawer => {
  const weightsAddress = rowAddress + vocabSize * 4
  const single = new Float32Array(vocabSize)
  let weights: Float32Array = single

  const maximum = (logits: Float32Array, offset: number): number => {
    let best = offset
    for (let i = offset + 1; i < offset + vocabSize; i++) if (logits[i]! > logits[best]!) best = i
    return best - offset
  }

  /** Fills `weights`; gives the logarithm of their sum. */
  const temper = (logits: Float32Array, offset: number, temperature: number): number => {
    kernels.floats(rowAddress, vocabSize).set(logits.subarray(offset, offset + vocabSize))
    weights = kernels.floats(weightsAddress, vocabSize)
    // A temperature that underflows in single precision would turn 0 / 0 up.
    return kernels.temper(vocabSize, rowAddress, Math.max(temperature, 1e-30), weightsAddress)
  }

  /** The order of operations is that of the training pass. */
  const logprobOf = (logit: number, max: number, temperature: number, logSum: number): number =>
    temperature === 1 ? logit - (max + logSum) : (logit - max) / temperature - logSum

  const { heapify, pop, tokenAt } = makeRanking(vocabSize)

  const sum = (): number => {
    let total = 0
    for (let i = 0; i < vocabSize; i++) total += weights[i]!
    return total
  }

  const pickAll = (uniform: number): number => {
    const target = uniform * sum()
    let walked = 0
    let last = 0
    for (let i = 0; i < vocabSize; i++) {
      const weight = weights[i]!
      if (weight === 0) continue
      walked += weight
      last = i
      if (target < walked) return i
    }
    return last
  }

  const pickKept = (topK: number, topP: number, uniform: number): number => {
    const most = topK < 0 ? vocabSize : Math.min(topK, vocabSize)
    let mass = 0
    if (most === vocabSize) mass = sum()
    else for (let i = 0; i < most; i++) mass += weights[pop()]!
    // The smallest set of the likeliest tokens that has the share topP of the mass that top-k left.
    let kept = 0
    let walked = 0
    while (kept < most && (kept === 0 || topP >= 1 || walked < topP * mass)) {
      const token = most === vocabSize ? pop() : tokenAt(vocabSize - 1 - kept)
      walked += weights[token]!
      kept++
    }
    const target = uniform * walked
    walked = 0
    for (let i = 0; i < kept; i++) {
      const token = tokenAt(vocabSize - 1 - i)
      walked += weights[token]!
      if (target < walked) return token
    }
    return tokenAt(vocabSize - kept)
  }

  const drawer: Drawer = {
    logprob: 0,
    draw: (logits, offset, { logprobs, temperature, topK, topP }, uniform) => {
      const best = maximum(logits, offset)
      const max = logits[offset + best]!
      const reported = reportedTemperature(temperature, logprobs)
      let logSum = temper(logits, offset, temperature === 0 ? 1 : temperature)
      if (!Number.isFinite(max) || Number.isNaN(logSum)) return -1
      let token = best
      if (temperature > 0 && (topK < 0 || topK >= vocabSize) && topP >= 1) {
        token = pickAll(uniform)
      } else if (temperature > 0) {
        heapify(logits, offset)
        token = pickKept(topK, topP, uniform)
      }
      if (temperature > 0 && reported !== temperature) logSum = temper(logits, offset, reported)
      drawer.logprob = logprobOf(logits[offset + token]!, max, reported, logSum)
      return token
    },
    score: (logits, offset, token) => {
      const max = logits[offset + maximum(logits, offset)]!
      return logprobOf(logits[offset + token]!, max, 1, temper(logits, offset, 1))
    },
    top: (logits, offset, temperature, k, tokens, logprobs, at) => {
      heapify(logits, offset)
      const max = logits[offset + tokenAt(0)]!
      const logSum = temper(logits, offset, temperature)
      for (let i = 0; i < k; i++) {
        const token = pop()
        tokens[at + i] = token
        logprobs[at + i] = logprobOf(logits[offset + token]!, max, temperature, logSum)
      }
    }
  }
  return drawer
}
