/** Count, mean and spread of a stream of numbers, without cancellation: Welford 1962, merged as in Chan et al. 1979. */
export class Moments {
  count = 0
  mean = 0
  /** Sum of squared differences from the mean. */
  private m2 = 0
  min = Number.POSITIVE_INFINITY
  max = Number.NEGATIVE_INFINITY

  /** Answers whether the value was taken: not NaN, nor beyond what can be squared. */
  add(value: number): boolean {
    if (!(Math.abs(value) <= 1e150)) return false
    this.count++
    const before = value - this.mean
    this.mean += before / this.count
    this.m2 += before * (value - this.mean)
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
    return true
  }

  merge(that: Moments): void {
    if (that.count === 0) return
    const count = this.count + that.count
    const apart = that.mean - this.mean
    this.m2 += that.m2 + apart * apart * (this.count * that.count / count)
    this.mean += apart * (that.count / count)
    this.count = count
    if (that.min < this.min) this.min = that.min
    if (that.max > this.max) this.max = that.max
  }

  /** Of the sample (divided by `count - 1`); 0 of a single value. */
  get stddev(): number {
    return this.count < 2 ? 0 : Math.sqrt(this.m2 / (this.count - 1))
  }

  clear(): void {
    this.count = this.mean = this.m2 = 0
    this.min = Number.POSITIVE_INFINITY
    this.max = Number.NEGATIVE_INFINITY
  }
}
