/** The breaker's state machine: pure transitions, no Effect. Times are monotonic milliseconds. */
import type { Step } from "./handle.js"
import * as Window from "./window.js"

export type Outcome = "success" | "failure" | "ignore"
export type StateName = "Closed" | "Open" | "HalfOpen" | "Isolated"
export type Reason =
  | "consecutiveFailures"
  | "failureRate"
  | "slowCallRate"
  | "elapsed"
  | "probeSucceeded"
  | "probeFailed"
  | "isolated"
  | "reset"
  | "restored"

export interface RateSettings {
  readonly calls: number | undefined
  readonly millis: number | undefined
  readonly minimumCalls: number
  readonly failureRate: number
  readonly slowCallRate: number
  readonly slowCallMillis: number
}

export interface Settings {
  readonly consecutiveFailures: number
  readonly rate: RateSettings | undefined
  readonly openMillis: number
  readonly openFactor: number
  readonly openCapMillis: number
  readonly jitter: number
  readonly probes: number
  readonly successesToClose: number
  readonly probeMillis: number
}

/** The right to one call, and where its outcome belongs. */
export interface Permit {
  readonly generation: number
  readonly startedAt: number
  /** Set by the handle when the outcome arrives: a second one counts for nothing. */
  settled: boolean
}

export const makePermit = (generation: number, now: number): Permit => ({ generation, startedAt: now, settled: false })

interface Closed {
  readonly _tag: "Closed"
  readonly generation: number
  readonly failures: number
  readonly calls: Window.CallWindow | undefined
  readonly time: Window.TimeWindow | undefined
}
interface Open {
  readonly _tag: "Open"
  readonly generation: number
  readonly until: number
  /** How many probes failed since the breaker was last closed. */
  readonly relapses: number
  readonly rejected: number
}
interface HalfOpen {
  readonly _tag: "HalfOpen"
  readonly generation: number
  readonly probes: ReadonlyArray<Permit>
  readonly successes: number
  readonly relapses: number
  readonly rejected: number
}
interface Isolated {
  readonly _tag: "Isolated"
  readonly generation: number
  readonly rejected: number
}
export type State = Closed | Open | HalfOpen | Isolated

/** What observers are told, before the handle adds its key. */
export interface Transition {
  readonly from: StateName
  readonly to: StateName
  readonly reason: Reason
  readonly generation: number
  readonly openMillis: number | undefined
  readonly rejected: number
}

type Move<A> = Step<A, State, Transition>

/** Slots of the time window: a failure is forgotten between 90 % and 100 % of the window's length after it happened. */
const timeSlots = 10
const Calls = 0
const Failures = 1
const Slow = 2

export const closed = (generation: number, settings: Settings): Closed => ({
  _tag: "Closed",
  generation,
  failures: 0,
  calls: settings.rate?.calls === undefined ? undefined : Window.makeCallWindow(settings.rate.calls),
  time: settings.rate?.millis === undefined ? undefined : Window.makeTimeWindow(settings.rate.millis, timeSlots, 3)
})

const moved = (from: State, to: State, reason: Reason, openMillis?: number): Transition => ({
  from: from._tag,
  to: to._tag,
  reason,
  generation: to.generation,
  openMillis,
  rejected: from._tag === "Closed" ? 0 : from.rejected
})

/**
 * How long to stay open after `relapses` failed probes: `open * factor^relapses` up to the cap, the last `jitter` part of
 * it drawn by `u` from [0, 1), never shorter than the first time.
 */
const openMillis = (settings: Settings, relapses: number, u: number): number => {
  const grown = Math.min(settings.openCapMillis, settings.openMillis * settings.openFactor ** relapses)
  const least = Math.max(settings.openMillis, grown * (1 - settings.jitter))
  return least + u * (grown - least)
}

const open = (s: State, now: number, relapses: number, u: number, reason: Reason, settings: Settings): Move<void> => {
  const millis = openMillis(settings, relapses, u)
  const next: Open = { _tag: "Open", generation: s.generation + 1, until: now + millis, relapses, rejected: 0 }
  return [undefined, next, moved(s, next, reason, millis)]
}

/** Opens the half when the time is up, and gives back the permits of probes that never came back. */
export const tick = (s: State, now: number): Move<State> => {
  if (s._tag === "Open" && now >= s.until) {
    const next: HalfOpen = {
      _tag: "HalfOpen",
      generation: s.generation + 1,
      probes: [],
      successes: 0,
      relapses: s.relapses,
      rejected: 0
    }
    return [next, next, moved(s, next, "elapsed")]
  }
  return [s, s]
}

const alive = (s: HalfOpen, now: number, settings: Settings): ReadonlyArray<Permit> =>
  s.probes.some((probe) => now - probe.startedAt >= settings.probeMillis)
    ? s.probes.filter((probe) => now - probe.startedAt < settings.probeMillis)
    : s.probes

/** A permit, or for how many milliseconds no call can be let through. */
export const acquire = (s: State, now: number, settings: Settings): Move<Permit | number> => {
  if (s._tag === "Closed") return [makePermit(s.generation, now), s]
  if (s._tag === "Isolated") return [Number.POSITIVE_INFINITY, { ...s, rejected: s.rejected + 1 }]
  const [at, , change] = tick(s, now)
  if (at._tag !== "HalfOpen") return [s._tag === "Open" ? s.until - now : 0, { ...s, rejected: s.rejected + 1 }]
  const probes = alive(at, now, settings)
  if (probes.length < settings.probes) {
    const permit = makePermit(at.generation, now)
    return change === undefined
      ? [permit, { ...at, probes: [...probes, permit] }]
      : [permit, { ...at, probes: [permit] }, change]
  }
  const oldest = Math.min(...probes.map((probe) => probe.startedAt))
  return [oldest + settings.probeMillis - now, { ...at, probes, rejected: at.rejected + 1 }]
}

/** Whether this outcome can reopen a half-open breaker, so that the length of the opening has to be drawn. */
export const isBad = (outcome: Outcome, millis: number, settings: Settings): boolean =>
  outcome === "failure" || isSlow(millis, settings)

const isSlow = (millis: number, settings: Settings): boolean =>
  settings.rate !== undefined && millis >= settings.rate.slowCallMillis

const count = (s: Closed, now: number, failed: boolean, slow: boolean, settings: Settings): Move<void> => {
  const failures = failed ? s.failures + 1 : 0
  const calls = s.calls && Window.push(s.calls, failed, slow)
  const time = s.time && Window.add(s.time, now, [1, failed ? 1 : 0, slow ? 1 : 0])
  const next: Closed = failures === s.failures && calls === s.calls && time === s.time
    ? s
    : { _tag: "Closed", generation: s.generation, failures, calls, time }
  const reason = verdict(next, now, settings)
  return reason === undefined ? [undefined, next] : open(next, now, 0, 0, reason, settings)
}

/** Calls, failures and slow calls in the window, which counts completed calls only. */
export const observed = (s: Closed, now: number) =>
  s.calls ?? (s.time && {
    calls: Window.total(s.time, now, Calls),
    failures: Window.total(s.time, now, Failures),
    slow: Window.total(s.time, now, Slow)
  })

const verdict = (s: Closed, now: number, settings: Settings): Reason | undefined => {
  if (s.failures >= settings.consecutiveFailures) return "consecutiveFailures"
  const seen = observed(s, now)
  const { rate } = settings
  if (rate === undefined || seen === undefined || seen.calls < rate.minimumCalls) return undefined
  if (seen.failures / seen.calls >= rate.failureRate) return "failureRate"
  return seen.slow / seen.calls >= rate.slowCallRate ? "slowCallRate" : undefined
}

/** Counts an outcome in the present state: a verdict on the half-open state, a mark in the closed one. */
export const record = (
  s: State,
  outcome: Outcome,
  millis: number,
  now: number,
  u: number,
  settings: Settings
): Move<void> => {
  if (outcome === "ignore") return [undefined, s]
  const slow = isSlow(millis, settings)
  if (s._tag === "Closed") return count(s, now, outcome === "failure", slow, settings)
  if (s._tag !== "HalfOpen") return [undefined, s]
  if (outcome === "failure" || slow) return open(s, now, s.relapses + 1, u, "probeFailed", settings)
  if (s.successes + 1 < settings.successesToClose) return [undefined, { ...s, successes: s.successes + 1 }]
  const next = closed(s.generation + 1, settings)
  return [undefined, next, moved(s, next, "probeSucceeded")]
}

/**
 * The outcome of a permitted call. It counts only in the generation in which the call started, and a probe's only while
 * it holds its permit; a permit comes back whatever the outcome.
 */
export const settle = (
  s: State,
  permit: Permit,
  outcome: Outcome,
  now: number,
  u: number,
  settings: Settings
): Move<void> => {
  if (permit.generation !== s.generation) return [undefined, s]
  if (s._tag !== "HalfOpen") return record(s, outcome, now - permit.startedAt, now, u, settings)
  const held = alive(s, now, settings)
  if (!held.includes(permit)) return [undefined, held === s.probes ? s : { ...s, probes: held }]
  const rest: HalfOpen = { ...s, probes: held.filter((probe) => probe !== permit) }
  return record(rest, outcome, now - permit.startedAt, now, u, settings)
}

/** Open until `reset`; calls under way no longer count. */
export const isolate = (s: State): Move<void> => {
  if (s._tag === "Isolated") return [undefined, s]
  const next: Isolated = { _tag: "Isolated", generation: s.generation + 1, rejected: 0 }
  return [undefined, next, moved(s, next, "isolated")]
}

/** Closed with nothing counted; calls under way no longer count. */
export const reset = (s: State, settings: Settings): Move<void> => {
  const next = closed(s.generation + 1, settings)
  return [undefined, next, s._tag === "Closed" ? undefined : moved(s, next, "reset")]
}

/** What outlives a process: no probes, no window, and a length of time instead of a deadline. */
export interface Snapshot {
  readonly state: StateName
  readonly consecutiveFailures: number
  readonly relapses: number
  readonly reopensInMillis: number
}

export const snapshot = (s: State, now: number): Snapshot => ({
  state: s._tag,
  consecutiveFailures: s._tag === "Closed" ? s.failures : 0,
  relapses: s._tag === "Open" || s._tag === "HalfOpen" ? s.relapses : 0,
  reopensInMillis: s._tag === "Open" ? Math.max(0, s.until - now) : 0
})

export const restore = (s: State, from: Snapshot, now: number, settings: Settings): Move<void> => {
  const generation = s.generation + 1
  const next: State = from.state === "Closed"
    ? { ...closed(generation, settings), failures: from.consecutiveFailures }
    : from.state === "Isolated"
    ? { _tag: "Isolated", generation, rejected: 0 }
    : from.state === "Open"
    ? { _tag: "Open", generation, until: now + from.reopensInMillis, relapses: from.relapses, rejected: 0 }
    : { _tag: "HalfOpen", generation, probes: [], successes: 0, relapses: from.relapses, rejected: 0 }
  return [undefined, next, moved(s, next, "restored", from.state === "Open" ? from.reopensInMillis : undefined)]
}
