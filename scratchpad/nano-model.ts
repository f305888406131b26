/** Runs `tinkex/nano` for measurements: continuations and losses, straight from the forward pass. */
import * as Either from "effect/Either"
import { forward, logits } from "../src/engine/internal/forward.js"
import { makeKernels } from "../src/engine/internal/kernels.js"
import { makeModel } from "../src/engine/internal/model.js"
import { nano } from "../src/engine/internal/modelConfig.js"
import * as Tokenizer from "../src/tokenizer/Tokenizer.js"
import type { Random } from "./nano-tasks.js"

const { decode, encode, eosToken } = Tokenizer.nano

export interface NanoModel {
  /** Continues a text until `stop` says so of what was written, the end-of-text token, or so many tokens. */
  readonly continue: (
    prompt: string,
    options: {
      readonly maxTokens: number
      readonly temperature: number
      readonly random: Random
      readonly stop?: string
    }
  ) => string
  /** Summed loss and number of predicted tokens. */
  readonly loss: (windows: ReadonlyArray<Int32Array>) => { readonly sum: number; readonly tokens: number }
}

/** From flat weights in the engine's order. */
export const makeNano = (flat: Float32Array): NanoModel => {
  const model = Either.getOrThrow(makeModel(makeKernels(), nano, { flat }))

  /** Calls `each` with the logits of every row from `from` on. */
  const run = (tokens: Int32Array, from: number, each: (row: number, logits: Float32Array) => void) => {
    const sequences = { rows: tokens.length, starts: Int32Array.of(0, tokens.length), tokens }
    const a = Either.getOrThrow(forward(model, model.weights, sequences, false))
    for (let row = from; row < tokens.length; row++) {
      logits(model, model.weights, a, row, 1)
      each(row, model.kernels.floats(a.logits, nano.vocabSize))
    }
  }

  const draw = (row: Float32Array, temperature: number, random: Random): number => {
    let largest = 0
    for (let i = 1; i < row.length; i++) if (row[i]! > row[largest]!) largest = i
    if (temperature === 0) return largest
    const weights = Array.from(row, (x) => Math.exp((x - row[largest]!) / temperature))
    let at = random.next() * weights.reduce((sum, w) => sum + w, 0)
    for (let i = 0; i < weights.length; i++) {
      at -= weights[i]!
      if (at < 0) return i
    }
    return largest
  }

  return {
    continue: (prompt, { maxTokens, random, stop, temperature }) => {
      const start = encode(prompt)
      const written: Array<number> = []
      while (written.length < maxTokens) {
        let next = eosToken!
        run(Int32Array.from([...start, ...written]), start.length + written.length - 1, (_, row) => {
          next = draw(row, temperature, random)
        })
        if (next === eosToken) break
        written.push(next)
        if (stop !== undefined && decode(written).includes(stop)) break
      }
      return decode(written)
    },
    loss: (windows) => {
      let sum = 0
      let tokens = 0
      for (const window of windows) {
        run(window.slice(0, -1), 0, (row, values) => {
          let largest = -Infinity
          for (const x of values) largest = Math.max(largest, x)
          let total = 0
          for (const x of values) total += Math.exp(x - largest)
          sum += largest + Math.log(total) - values[window[row + 1]!]!
          tokens++
        })
      }
      return { sum, tokens }
    }
  }
}
