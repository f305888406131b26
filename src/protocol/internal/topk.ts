/**
 * Top-k matrices to and from rows of pairs.
 *
 * @internal
 */

/** @internal */
const maskLogprob = -99999

interface Topk {
  readonly tokens: Int32Array
  readonly logprobs: Float32Array
  readonly k: number
  readonly length: number
}

/** @internal */
export const topkToPairs = (topk: Topk): Array<Array<readonly [number, number]> | null> => {
  const { k, length, logprobs, tokens } = topk
  if (k === 0) return []
  const rows: Array<Array<readonly [number, number]> | null> = []
  for (let i = 0; i < length; i++) {
    const start = i * k
    let end = start + k
    while (end > start && tokens[end - 1] === 0 && logprobs[end - 1] === maskLogprob) end--
    if (end === start || (tokens[start] === 0 && logprobs[start] === maskLogprob)) {
      rows.push(null)
      continue
    }
    const row: Array<readonly [number, number]> = []
    for (let j = start; j < end; j++) row.push([tokens[j]!, logprobs[j]!])
    rows.push(row)
  }
  return rows
}

/** @internal */
export const topkFromPairs = (rows: ReadonlyArray<ReadonlyArray<readonly [number, number]> | null>): Topk => {
  let k = 0
  for (const row of rows) if (row !== null && row.length > k) k = row.length
  const tokens = new Int32Array(rows.length * k)
  const logprobs = new Float32Array(rows.length * k).fill(maskLogprob)
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]
    if (row === null || row === undefined) continue
    for (let j = 0; j < row.length; j++) {
      tokens[i * k + j] = row[j]![0]
      logprobs[i * k + j] = row[j]![1]
    }
  }
  return { tokens, logprobs, k, length: rows.length }
}
