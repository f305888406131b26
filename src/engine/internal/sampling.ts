/**
 * From logits to a token: temperature, then top-k, then top-p, renormalise, draw (server-semantics 2.6).
 */

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

export const makeDrawer = (vocabSize: number): Drawer => {
  const weights = new Float64Array(vocabSize)
  const heap = new Int32Array(vocabSize)
  let size = 0
  let row = new Float32Array(0)
  let base = 0

  const maximum = (logits: Float32Array, offset: number): number => {
    let best = offset
    for (let i = offset + 1; i < offset + vocabSize; i++) if (logits[i]! > logits[best]!) best = i
    return best - offset
  }

  const logSum = (logits: Float32Array, offset: number, max: number, temperature: number): number => {
    let sum = 0
    for (let i = 0; i < vocabSize; i++) sum += Math.exp((logits[offset + i]! - max) / temperature)
    return Math.log(sum)
  }

  // A binary heap of token ids: higher logit first, lower id first among equals.
  const before = (a: number, b: number): boolean => {
    const x = row[base + a]!
    const y = row[base + b]!
    return x > y || (x === y && a < b)
  }
  const sift = (hole: number): void => {
    const token = heap[hole]!
    let child = 2 * hole + 1
    while (child < size) {
      if (child + 1 < size && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, token)) break
      heap[hole] = heap[child]!
      hole = child
      child = 2 * hole + 1
    }
    heap[hole] = token
  }
  const heapify = (logits: Float32Array, offset: number): void => {
    row = logits
    base = offset
    size = vocabSize
    for (let i = 0; i < vocabSize; i++) heap[i] = i
    for (let i = (vocabSize >> 1) - 1; i >= 0; i--) sift(i)
  }
  /** Moves the likeliest remaining token behind the heap: popped tokens stand at the array's end, in reverse. */
  const pop = (): number => {
    const top = heap[0]!
    size--
    heap[0] = heap[size]!
    heap[size] = top
    if (size > 1) sift(0)
    return top
  }

  const pickAll = (total: number, uniform: number): number => {
    const target = uniform * total
    let sum = 0
    let last = 0
    for (let i = 0; i < vocabSize; i++) {
      const weight = weights[i]!
      if (weight === 0) continue
      sum += weight
      last = i
      if (target < sum) return i
    }
    return last
  }

  const pickKept = (total: number, topK: number, topP: number, uniform: number): number => {
    const most = topK < 0 ? vocabSize : Math.min(topK, vocabSize)
    let mass = total
    let kept = 0
    let sum = 0
    if (most < vocabSize) {
      mass = 0
      while (kept < most) {
        mass += weights[pop()]!
        kept++
      }
      const threshold = topP >= 1 ? Infinity : topP * mass
      let nucleus = 0
      while (nucleus < kept && sum < threshold) {
        sum += weights[heap[vocabSize - 1 - nucleus]!]!
        nucleus++
      }
      kept = Math.max(nucleus, 1)
    } else {
      const threshold = topP * mass
      while (kept < vocabSize && (kept === 0 || sum < threshold)) {
        sum += weights[pop()]!
        kept++
      }
    }
    const target = uniform * sum
    let walked = 0
    for (let i = 0; i < kept; i++) {
      const token = heap[vocabSize - 1 - i]!
      walked += weights[token]!
      if (target < walked) return token
    }
    return heap[vocabSize - kept]!
  }

  const drawer: Drawer = {
    logprob: 0,
    draw: (logits, offset, { logprobs, temperature, topK, topP }, uniform) => {
      const best = maximum(logits, offset)
      const max = logits[offset + best]!
      if (!Number.isFinite(max)) return -1
      if (temperature === 0) {
        drawer.logprob = -logSum(logits, offset, max, 1)
        return Number.isNaN(drawer.logprob) ? -1 : best
      }
      let total = 0
      for (let i = 0; i < vocabSize; i++) {
        const weight = Math.exp((logits[offset + i]! - max) / temperature)
        weights[i] = weight
        total += weight
      }
      if (!(total < Infinity)) return -1
      let token: number
      if ((topK < 0 || topK >= vocabSize) && topP >= 1) {
        token = pickAll(total, uniform)
      } else {
        heapify(logits, offset)
        token = pickKept(total, topK, topP, uniform)
      }
      const reported = reportedTemperature(temperature, logprobs)
      const norm = reported === temperature ? Math.log(total) : logSum(logits, offset, max, reported)
      drawer.logprob = (logits[offset + token]! - max) / reported - norm
      return token
    },
    score: (logits, offset, token) => {
      const max = logits[offset + maximum(logits, offset)]!
      return logits[offset + token]! - max - logSum(logits, offset, max, 1)
    },
    top: (logits, offset, temperature, k, tokens, logprobs, at) => {
      heapify(logits, offset)
      const max = logits[offset + heap[0]!]!
      const norm = logSum(logits, offset, max, temperature)
      for (let i = 0; i < k; i++) {
        const token = pop()
        tokens[at + i] = token
        logprobs[at + i] = (logits[offset + token]! - max) / temperature - norm
      }
    }
  }
  return drawer
}
