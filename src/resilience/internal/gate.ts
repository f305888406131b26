/** The gate's machine: who is inside, who waits, how many may enter. Synchronous; the handle calls it inside one step. */
import type { FixedRate } from "./pacer.js"
import { Pacer } from "./pacer.js"

export type Outcome = "success" | "throttled" | "ignore"

/** A permit, from admission to release. */
export interface Lease {
  readonly bytes: number
  /** How many reductions there had been when it was admitted. */
  readonly epoch: number
  /** How many were inside when it was admitted, itself included. */
  readonly crowd: number
  released: boolean
}

export interface Waiter {
  readonly bytes: number
  lease: Lease | undefined
  /** Set for the first in line while only a token is missing: its fiber sleeps so many milliseconds, then pumps. */
  delay: number | undefined
  /** Calls the fiber to look at `lease` and `delay`. */
  resume: (() => void) | undefined
  queued: boolean
  previous: Waiter | undefined
  next: Waiter | undefined
}

export interface Settings {
  readonly permits: number
  readonly bytes: number
  readonly maxWaiting: number
  readonly adaptive: boolean
  readonly minPermits: number
  readonly decrease: number
  readonly pacing: "off" | "adaptive" | FixedRate
}

export type Reason = "throttled" | "recovered" | "resized"

export class Gate {
  inFlight = 0
  waiting = 0
  private bytesInside = 0
  permits: number
  bytes: number
  private limit_: number
  private epoch = 0
  private first: Waiter | undefined
  private last: Waiter | undefined
  private readonly pacer: Pacer | undefined

  constructor(private readonly settings: Settings, private readonly note: (reason: Reason) => void) {
    this.permits = settings.permits
    this.limit_ = settings.permits
    this.bytes = settings.bytes
    this.pacer = settings.pacing === "off"
      ? undefined
      : new Pacer(settings.pacing === "adaptive" ? undefined : settings.pacing)
  }

  /** May go below zero: whoever is admitted while it is not may take any amount. */
  get bytesFree(): number {
    return this.bytes - this.bytesInside
  }

  get limit(): number {
    return Math.floor(this.limit_)
  }

  get rate(): number {
    return this.pacer === undefined ? Number.POSITIVE_INFINITY : this.pacer.rate
  }

  /** Puts a newcomer at the end of the line and admits whoever can be; the newcomer too, if nobody is before it. */
  arrive(bytes: number, now: number): Waiter {
    const waiter: Waiter = {
      bytes,
      lease: undefined,
      delay: undefined,
      resume: undefined,
      queued: true,
      previous: this.last,
      next: undefined
    }
    if (this.last === undefined) this.first = waiter
    else this.last.next = waiter
    this.last = waiter
    this.waiting++
    if (this.first === waiter) this.pump(now)
    return waiter
  }

  /** The permit of a newcomer that can enter at once. */
  tryEnter(bytes: number, now: number): Lease | undefined {
    const free = this.first === undefined && this.inFlight < this.limit && this.bytesFree >= 0
    if (!free || (this.pacer !== undefined && this.pacer.take(now) > 0)) return undefined
    return this.admit(bytes)
  }

  private admit(bytes: number): Lease {
    this.inFlight++
    this.bytesInside += bytes
    return { bytes, epoch: this.epoch, crowd: this.inFlight, released: false }
  }

  /** A waiter that will not come any more. What it held or kept others from goes to the next. */
  leave(waiter: Waiter, now: number): void {
    if (waiter.lease !== undefined) {
      this.pacer?.putBack()
      this.release(waiter.lease, "ignore", now)
    } else {
      const wasFirst = this.first === waiter
      this.unlink(waiter)
      if (wasFirst) this.pump(now)
    }
  }

  /** The first in line has slept for its token. */
  wake(waiter: Waiter, now: number): void {
    waiter.delay = undefined
    this.pump(now)
  }

  release(lease: Lease, outcome: Outcome, now: number): void {
    if (lease.released) return
    lease.released = true
    this.inFlight--
    this.bytesInside -= lease.bytes
    if (outcome === "success") this.grow(lease, now)
    else if (outcome === "throttled") this.shrink(lease, now)
    this.pump(now)
  }

  resize(permits = this.permits, bytes = this.bytes, now: number): void {
    this.limit_ = this.limit_ === this.permits ? permits : Math.min(this.limit_, permits)
    this.permits = permits
    this.bytes = bytes
    this.note("resized")
    this.pump(now)
  }

  /** Hands permits over to the waiters, one by one, first come first served: nobody else is woken. */
  private pump(now: number): void {
    for (let waiter = this.first; waiter !== undefined; waiter = this.first) {
      if (waiter.delay !== undefined || this.inFlight >= this.limit || this.bytesFree < 0) return
      const delay = this.pacer === undefined ? 0 : this.pacer.take(now)
      if (delay > 0) {
        waiter.delay = delay
        waiter.resume?.()
        return
      }
      this.unlink(waiter)
      waiter.lease = this.admit(waiter.bytes)
      waiter.resume?.()
    }
  }

  private unlink(waiter: Waiter): void {
    if (!waiter.queued) return
    waiter.queued = false
    if (waiter.previous === undefined) this.first = waiter.next
    else waiter.previous.next = waiter.next
    if (waiter.next === undefined) this.last = waiter.previous
    else waiter.next.previous = waiter.previous
    this.waiting--
  }

  /** Additive increase: one permit for a round of successes, if the gate was at least half full. */
  private grow(lease: Lease, now: number): void {
    this.pacer?.succeeded(now)
    if (!this.settings.adaptive || this.limit_ >= this.permits || lease.crowd * 2 < this.limit_) return
    this.limit_ = Math.min(this.permits, this.limit_ + 1 / this.limit_)
    if (this.limit_ === this.permits) this.note("recovered")
  }

  /** Multiplicative decrease from the crowd that was refused, once a round. */
  private shrink(lease: Lease, now: number): void {
    if (lease.epoch !== this.epoch) return
    this.epoch++
    this.pacer?.refused(now)
    if (this.settings.adaptive) {
      const refused = Math.min(this.limit_, lease.crowd)
      this.limit_ = Math.max(Math.min(this.settings.minPermits, this.permits), refused * this.settings.decrease)
    }
    this.note("throttled")
  }
}
