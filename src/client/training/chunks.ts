/** Splits the data of one operation into requests: in order, never empty, an oversize example alone. */
import * as Datum from "../../protocol/Datum.js"
import type { ClientLimits } from "../../protocol/Service.js"
import type { ChunkLimits } from "../../TinkexConfig.js"

export interface Limits {
  readonly examples: number
  /** What an example weighs, and how much of it one request may carry. */
  readonly weigh: (datum: Datum.Datum) => number
  readonly weight: number
}

/** The server's limits where it has sent them, ours otherwise (docs/protocol/training.md#chunks). */
export const limitsOf = (server: ClientLimits, own: ChunkLimits): Limits => ({
  examples: server.fwdbwdMaxChunkLen ?? own.examples,
  ...(server.fwdbwdMaxChunkBytes === undefined
    ? { weigh: Datum.numberCount, weight: own.numbers }
    : { weigh: Datum.byteSize, weight: server.fwdbwdMaxChunkBytes })
})

export const split = (data: ReadonlyArray<Datum.Datum>, limits: Limits): ReadonlyArray<ReadonlyArray<Datum.Datum>> => {
  const chunks: Array<ReadonlyArray<Datum.Datum>> = []
  let start = 0
  let weight = 0
  for (let i = 0; i < data.length; i++) {
    const more = limits.weigh(data[i]!)
    if (i > start && (i - start >= limits.examples || weight + more > limits.weight)) {
      chunks.push(data.slice(start, i))
      start = i
      weight = 0
    }
    weight += more
  }
  if (start < data.length) chunks.push(data.slice(start))
  return chunks
}
