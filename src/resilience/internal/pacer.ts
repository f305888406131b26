/**
 * A token bucket whose rate is learned from refusals. It is CUBIC (RFC 9438) with the constants of AWS's adaptive retry mode
 * (smithy `DefaultRateLimiter`: beta 0.7, scale 0.4, smoothing 0.8), off until the first refusal, with three differences:
 *
 * 1. One reduction a round: a refusal counts only if its request started after the last reduction. The caller sees to that.
 * 2. The curve flattens at 95 % of the rate that was refused, not at it, and is no steeper than to come back to the refused
 *    rate in the time of 30 starts (10 s at most): at the refused rate itself a slow server would refuse one request in
 *    eight. At 125 % of it, where the server must have grown, the curve is free again.
 * 3. While less is asked for than allowed, the rate does not grow past twice what was delivered, and does not fall either.
 *
 * Starts in any window of t seconds: at most `burst + rate * t`, `rate` being the highest in the window.
 */
const Beta = 0.7
const Scale = 0.4
const Smooth = 0.8
const LeastRate = 0.5
const Plateau = 0.95
const ProbeStarts = 30
const ProbeSeconds = 10
const Surpassed = 1.25
/** Seconds' worth of starts that may be saved up, against timers that fire late. */
const BurstSeconds = 0.05

export interface FixedRate {
  readonly rate: number
  readonly burst: number
}

export class Pacer {
  /** Starts per second; infinite while unpaced. */
  rate: number
  private tokens: number
  private capacity: number
  private filledAt = 0
  private refusedRate = 0
  private refusedAt = 0
  /** Successes per second, smoothed. */
  private delivered = 0
  private counted = 0
  private countedSince: number | undefined

  constructor(private readonly fixed: FixedRate | undefined) {
    this.rate = fixed === undefined ? Number.POSITIVE_INFINITY : fixed.rate
    this.capacity = fixed === undefined ? 1 : fixed.burst
    this.tokens = this.capacity
  }

  /** Takes a token, or says in how many milliseconds there will be one. */
  take(now: number): number {
    if (this.rate === Number.POSITIVE_INFINITY) return 0
    this.refill(now)
    if (this.tokens > 1 - 1e-9) {
      this.tokens -= 1
      return 0
    }
    return Math.ceil(((1 - this.tokens) / this.rate) * 1000)
  }

  /** Gives a token back that was taken for a start that did not happen. */
  putBack(): void {
    this.tokens = Math.min(this.capacity, this.tokens + 1)
  }

  succeeded(now: number): void {
    if (this.fixed !== undefined) return
    this.measure(now)
    this.counted++
    if (this.rate < Number.POSITIVE_INFINITY) {
      this.setRate(Math.max(this.rate, Math.min(this.curve(now), 2 * this.delivered)), now)
    }
  }

  refused(now: number): void {
    if (this.fixed !== undefined) return
    this.measure(now)
    const since = Math.max(0.5, (now - (this.countedSince ?? now)) / 1000)
    const delivered = Math.max(this.delivered, this.counted / since)
    this.refusedRate = Math.max(
      LeastRate,
      this.rate === Number.POSITIVE_INFINITY ? delivered : Math.min(this.rate, 2 * delivered)
    )
    this.refusedAt = now
    this.setRate(Math.max(LeastRate, Beta * this.refusedRate), now)
  }

  private curve(now: number): number {
    const t = (now - this.refusedAt) / 1000
    const plateau = Plateau * this.refusedRate
    const climb = Math.cbrt(((Plateau - Beta) * this.refusedRate) / Scale)
    if (t < climb) return plateau - Scale * (climb - t) ** 3
    const patience = Math.min(ProbeSeconds, ProbeStarts / this.refusedRate)
    const slope = Math.min(Scale, ((1 - Plateau) * this.refusedRate) / patience ** 3)
    const free = Math.cbrt(((Surpassed - Plateau) * this.refusedRate) / slope)
    const over = t - climb
    return Math.max(
      plateau + slope * over ** 3,
      over < free ? 0 : Surpassed * this.refusedRate + Scale * (over - free) ** 3
    )
  }

  /** Closes an interval of half a second; at low rates a longer one, for fewer successes than 5 measure nothing. */
  private measure(now: number): void {
    if (this.countedSince === undefined) this.countedSince = now
    const elapsed = now - this.countedSince
    if (elapsed < 500 || (this.counted < 5 && elapsed < 5000)) return
    this.delivered = (this.counted / (elapsed / 1000)) * Smooth + this.delivered * (1 - Smooth)
    this.counted = 0
    this.countedSince = now
  }

  private setRate(rate: number, now: number): void {
    if (this.rate === Number.POSITIVE_INFINITY) this.tokens = 0
    else this.refill(now)
    this.filledAt = now
    this.rate = rate
    this.capacity = Math.max(1, rate * BurstSeconds)
  }

  private refill(now: number): void {
    this.tokens = Math.min(this.capacity, this.tokens + ((now - this.filledAt) / 1000) * this.rate)
    this.filledAt = now
  }
}
