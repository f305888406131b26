/**
 * Counts by integer index, dense over the range in use, at most `maxBins` wide.
 *
 * When the range would grow wider, the lowest bins are folded into the lowest one that is kept: the bins always equal
 * those of all indices `i` taken as `max(i, highest - maxBins + 1)`, whatever the order of additions and merges.
 */
const chunk = 64

export class LogBins {
  private counts = new Float64Array(0)
  private offset = 0
  /** Whether anything was ever folded. */
  collapsed = false
  total = 0

  constructor(readonly maxBins: number) {}

  add(index: number, count: number): void {
    let at = index - this.offset
    if (at < 0 || at >= this.counts.length) at = this.extend(index)
    this.counts[at]! += count
    this.total += count
  }

  /** Makes room for `index` and answers the position of its count. */
  private extend(index: number): number {
    if (this.total === 0) {
      if (this.counts.length === 0) this.counts = new Float64Array(Math.min(chunk, this.maxBins))
      this.offset = index - (this.counts.length >> 1)
      return index - this.offset
    }
    const lowest = this.lowest()
    const highest = this.highest()
    const newHighest = Math.max(highest, index)
    let newLowest = Math.min(lowest, index)
    if (newHighest - newLowest >= this.maxBins) {
      newLowest = newHighest - this.maxBins + 1
      this.collapsed = true
      if (newLowest === this.offset && this.counts.length === this.maxBins) return 0
    }
    const size = Math.min(this.maxBins, Math.ceil((newHighest - newLowest + 1) / chunk) * chunk)
    // What is left over in the last chunk goes to the side that is growing.
    const offset = index < lowest ? newHighest - size + 1 : newLowest
    const counts = new Float64Array(size)
    for (let i = lowest; i <= highest; i++) counts[Math.max(i, newLowest) - offset]! += this.counts[i - this.offset]!
    this.counts = counts
    this.offset = offset
    return Math.max(index, newLowest) - offset
  }

  merge(other: LogBins): void {
    if (other.total === 0) return
    const from = other.lowest()
    // The highest first: room is made once, and what has to be folded is folded at once.
    for (let i = other.highest(); i >= from; i--) {
      const count = other.counts[i - other.offset]!
      if (count > 0) this.add(i, count)
    }
    this.collapsed = this.collapsed || other.collapsed
  }

  /** The index of the value at `rank` (0-based, counted from the lowest index). */
  indexAtRank(rank: number): number {
    let seen = 0
    for (let i = 0; i < this.counts.length; i++) {
      seen += this.counts[i]!
      if (seen > rank) return i + this.offset
    }
    return this.highest()
  }

  lowest(): number {
    let i = 0
    while (i < this.counts.length - 1 && this.counts[i] === 0) i++
    return i + this.offset
  }

  highest(): number {
    let i = this.counts.length - 1
    while (i > 0 && this.counts[i] === 0) i--
    return i + this.offset
  }

  /** Bins from the lowest to the highest in use. */
  toArray(): { readonly offset: number; readonly counts: ReadonlyArray<number> } {
    if (this.total === 0) return { offset: 0, counts: [] }
    const lowest = this.lowest()
    return {
      offset: lowest,
      counts: Array.from(this.counts.subarray(lowest - this.offset, this.highest() - this.offset + 1))
    }
  }

  /** Forgets the counts and keeps the memory. */
  clear(): void {
    this.counts.fill(0)
    this.total = 0
    this.collapsed = false
  }

  get bytes(): number {
    return this.counts.byteLength
  }
}
