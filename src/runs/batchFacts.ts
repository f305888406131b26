/** What is known of a batch before it is sent, and of its loss when it comes back. */
import type { Datum } from "../protocol/Datum.js"
import * as ModelInput from "../protocol/ModelInput.js"
import { Hasher } from "./hash.js"
import type { PassOutput } from "./Run.js"

export interface BatchFacts {
  readonly sequences: number
  readonly tokens: number
  /** Positions with a weight above 0; `undefined` when the loss has no weights. */
  readonly lossTokens: number | undefined
  /** The same for the same data. */
  readonly digest: string
}

/** Images of unknown length are not counted. */
const tokensOf = ({ modelInput }: Datum): number => {
  let tokens = 0
  for (const chunk of modelInput.chunks) {
    const known = chunk.type === "encoded_text" || chunk.type === "dmel" || chunk.expectedTokens !== undefined
    if (known) tokens += ModelInput.chunkLength(chunk)
  }
  return tokens
}

export const factsOf = (data: ReadonlyArray<Datum>): BatchFacts => {
  const hasher = new Hasher()
  let tokens = 0
  let lossTokens: number | undefined = 0
  for (const datum of data) {
    tokens += tokensOf(datum)
    for (const chunk of datum.modelInput.chunks) {
      if (chunk.type === "encoded_text") hasher.numbers(chunk.tokens)
      else hasher.value(chunk)
    }
    for (const name of Object.keys(datum.lossFnInputs).sort()) {
      const tensor = datum.lossFnInputs[name]!
      hasher.text(name).numbers(tensor.shape).numbers(tensor.data)
    }
    const weights = datum.lossFnInputs["weights"]
    if (weights === undefined) lossTokens = undefined
    else if (lossTokens !== undefined) {
      for (let i = 0; i < weights.data.length; i++) if (Number(weights.data[i]) > 0) lossTokens++
    }
  }
  return { sequences: data.length, tokens, lossTokens, digest: hasher.digest().slice(0, 16) }
}

/** The mean negative log-likelihood: -sum(w * logp) / sum(w). */
export const meanNll = (data: ReadonlyArray<Datum>, { lossFnOutputs }: PassOutput): number | undefined => {
  let sum = 0
  let weight = 0
  for (let d = 0; d < data.length; d++) {
    const weights = data[d]!.lossFnInputs["weights"]
    const logprobs = lossFnOutputs?.[d]?.["logprobs"]
    if (weights === undefined || logprobs === undefined || weights.data.length !== logprobs.data.length) {
      return undefined
    }
    for (let i = 0; i < weights.data.length; i++) {
      const w = Number(weights.data[i])
      if (w === 0) continue
      sum -= w * Number(logprobs.data[i])
      weight += w
    }
  }
  return weight === 0 ? undefined : sum / weight
}
