/** A curve in bounded memory: means of equal stretches of steps, which grow wider as the run grows longer. */

/** Columns of a curve, one entry for each stretch. */
export interface Curve {
  /** The step in the middle of the stretch. */
  readonly x: ReadonlyArray<number>
  readonly y: ReadonlyArray<number>
  /** Least and most of the stretch; absent while every stretch is one step. */
  readonly low?: ReadonlyArray<number>
  readonly high?: ReadonlyArray<number>
}

/** Six digits are more than a screen shows. */
const short = (value: number): number => Number(value.toPrecision(6))

export class Series {
  private width = 1
  private sums: Array<number> = []
  private counts: Array<number> = []
  private lows: Array<number> = []
  private highs: Array<number> = []

  /** At most `most` stretches are kept, an even number. */
  constructor(private readonly most: number) {}

  add(step: number, value: number): void {
    if (!Number.isFinite(value) || step < 0) return
    while (step >= this.width * this.most) this.halve()
    const at = Math.floor(step / this.width)
    if (this.counts[at] === undefined) {
      for (let i = this.counts.length; i <= at; i++) {
        this.sums.push(0)
        this.counts.push(0)
        this.lows.push(Number.POSITIVE_INFINITY)
        this.highs.push(Number.NEGATIVE_INFINITY)
      }
    }
    this.sums[at]! += value
    this.counts[at]!++
    this.lows[at] = Math.min(this.lows[at]!, value)
    this.highs[at] = Math.max(this.highs[at]!, value)
  }

  private halve(): void {
    const half = Math.ceil(this.counts.length / 2)
    for (let i = 0; i < half; i++) {
      const [a, b] = [2 * i, 2 * i + 1]
      this.sums[i] = this.sums[a]! + (this.sums[b] ?? 0)
      this.counts[i] = this.counts[a]! + (this.counts[b] ?? 0)
      this.lows[i] = Math.min(this.lows[a]!, this.lows[b] ?? Number.POSITIVE_INFINITY)
      this.highs[i] = Math.max(this.highs[a]!, this.highs[b] ?? Number.NEGATIVE_INFINITY)
    }
    for (const column of [this.sums, this.counts, this.lows, this.highs]) column.length = half
    this.width *= 2
  }

  curve(): Curve {
    const x: Array<number> = []
    const y: Array<number> = []
    const low: Array<number> = []
    const high: Array<number> = []
    for (let i = 0; i < this.counts.length; i++) {
      if (this.counts[i] === 0) continue
      x.push(i * this.width + (this.width - 1) / 2)
      y.push(short(this.sums[i]! / this.counts[i]!))
      low.push(short(this.lows[i]!))
      high.push(short(this.highs[i]!))
    }
    return this.width === 1 ? { x, y } : { x, y, low, high }
  }
}
