/** The state behind `QuantileSketch`: see there for what it promises. */
import { LogBins } from "./logBins.js"

/** Smaller magnitudes than this are zero: below it doubles lose their relative precision, so no relative bound can hold. */
const smallest = 2 ** -1022

export class Sketch {
  count = 0
  zero = 0
  min = Number.POSITIVE_INFINITY
  max = Number.NEGATIVE_INFINITY
  rejected = 0
  private total = 0
  /** What rounding lost of `total` (Neumaier 1974). */
  private lost = 0
  readonly positive: LogBins
  readonly negative: LogBins
  private readonly logGamma: number
  private readonly scale: number
  private readonly centre: number

  constructor(readonly relativeAccuracy: number, readonly maxBins: number) {
    // A hair under what is promised, so that rounding in `log` and `exp` (below 1e-12) cannot break the promise.
    const accuracy = relativeAccuracy * (1 - 1e-9)
    this.logGamma = Math.log1p(2 * accuracy / (1 - accuracy))
    this.scale = 1 / this.logGamma
    this.centre = Math.log1p(-accuracy)
    this.positive = new LogBins(maxBins)
    this.negative = new LogBins(maxBins)
  }

  add(value: number, count: number): boolean {
    // NaN and both infinities.
    if (value - value !== 0) {
      this.rejected += count
      return false
    }
    if (value >= smallest) this.positive.add(Math.ceil(Math.log(value) * this.scale), count)
    else if (value <= -smallest) this.negative.add(Math.ceil(Math.log(-value) * this.scale), count)
    else this.zero += count
    this.count += count
    // Plus zero: JSON knows no -0.
    if (value < this.min) this.min = value + 0
    if (value > this.max) this.max = value + 0
    this.addToSum(value * count)
    return true
  }

  /** Past the largest double the sum stays at it, until what is added brings it back. */
  private addToSum(value: number): void {
    const next = this.total + value
    if (next - next !== 0) {
      this.total = Math.sign(next) * Number.MAX_VALUE
      this.lost = 0
      return
    }
    this.lost += Math.abs(this.total) >= Math.abs(value) ? this.total - next + value : value - next + this.total
    this.total = next
  }

  get sum(): number {
    return Math.min(Math.max(this.total + this.lost, -Number.MAX_VALUE), Number.MAX_VALUE)
  }

  /** The running total and what rounding lost of it. */
  get sumParts(): readonly [number, number] {
    return [this.total, this.lost]
  }

  set sumParts([total, lost]: readonly [number, number]) {
    this.total = total
    this.lost = lost
  }

  /** The middle, in the sense of relative error, of the bin: `2 gamma^i / (gamma + 1)`. */
  private valueAt(index: number): number {
    return Math.exp(index * this.logGamma + this.centre)
  }

  quantile(q: number): number {
    const rank = Math.floor(q * (this.count - 1))
    // The extremes are known exactly.
    if (rank <= 0) return this.min
    if (rank >= this.count - 1) return this.max
    const below = this.negative.total
    const value = rank < below
      ? -this.valueAt(this.negative.indexAtRank(below - 1 - rank))
      : rank < below + this.zero
      ? 0
      : this.valueAt(this.positive.indexAtRank(rank - below - this.zero))
    return Math.min(Math.max(value, this.min), this.max)
  }

  merge(other: Sketch): void {
    this.positive.merge(other.positive)
    this.negative.merge(other.negative)
    this.zero += other.zero
    this.count += other.count
    this.rejected += other.rejected
    if (other.min < this.min) this.min = other.min
    if (other.max > this.max) this.max = other.max
    this.addToSum(other.total)
    this.lost += other.lost
  }

  clear(): void {
    this.positive.clear()
    this.negative.clear()
    this.count =
      this.zero =
      this.rejected =
      this.total =
      this.lost =
        0
    this.min = Number.POSITIVE_INFINITY
    this.max = Number.NEGATIVE_INFINITY
  }

  get collapsed(): boolean {
    return this.positive.collapsed || this.negative.collapsed
  }

  get bytes(): number {
    return this.positive.bytes + this.negative.bytes
  }
}
