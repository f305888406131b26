/** What the console view knows, and how it is laid out. */
import type { HistogramStats, Labels } from "../MetricSnapshot.js"
import { sparkline } from "../Plot.js"
import { type BreakerStateName, type Of, queueMessage, type Stamped } from "../TelemetryEvent.js"
import { remember } from "./bounded.js"
import { scrub } from "./scrub.js"
import { short } from "./ticks.js"

export interface Figures {
  readonly trained: number
  readonly sampled: number
  readonly success: number
  readonly failure: number
  readonly retries: number
  readonly backoffMs: number
  readonly latency: HistogramStats | null
  readonly inFlight: ReadonlyArray<{ readonly labels: Labels; readonly value: number }>
}

interface Sample {
  readonly at: number
  readonly trained: number
  readonly sampled: number
}

export interface State {
  step: number
  /** Newest last, at most `mostLosses`. */
  readonly losses: Array<number>
  readonly queues: Map<string, Of<"QueueState">>
  readonly breakers: Map<string, BreakerStateName>
  /** Token counts of the last ten seconds, oldest first. */
  samples: ReadonlyArray<Sample>
}

const mostLosses = 240
const rateWindow = 10_000

export const make = (): State => ({ step: 0, losses: [], queues: new Map(), breakers: new Map(), samples: [] })

/** Takes in an event; answers a line to print at once if it is one that nobody should miss. */
export const observe = (state: State, event: Stamped): string | undefined => {
  switch (event._tag) {
    case "TrainingStep":
      state.step = event.step
      return undefined
    case "TrainingPass":
      if (event.loss !== undefined) {
        state.losses.push(event.loss / (event.weight !== undefined && event.weight > 0 ? event.weight : 1))
        if (state.losses.length > mostLosses) state.losses.shift()
      }
      return undefined
    case "QueueState": {
      const key = `${event.source} ${event.id}`
      if (event.state === "active") {
        state.queues.delete(key)
        return undefined
      }
      const before = state.queues.get(key)
      remember(state.queues, key, event)
      return before === undefined ? queueMessage(event) : undefined
    }
    case "BreakerTransition": {
      const key = `${event.operation} ${event.tenant}`
      if (event.to === "closed") state.breakers.delete(key)
      else remember(state.breakers, key, event.to)
      return event.to === "half_open"
        ? undefined
        : `circuit of ${event.operation}: ${event.to === "open" ? "open" : "closed"}`
    }
    default:
      return undefined
  }
}

export const advance = (state: State, figures: Figures, now: number): void => {
  const { sampled, trained } = figures
  // A reset of the metrics makes counters smaller.
  const last = state.samples[state.samples.length - 1]
  const kept = last !== undefined && (trained < last.trained || sampled < last.sampled) ? [] : state.samples
  state.samples = [...kept.filter(({ at }, i) => at >= now - rateWindow || i === kept.length - 1), {
    at: now,
    trained,
    sampled
  }]
}

const rate = (state: State, of: (sample: Sample) => number): number => {
  const first = state.samples[0]
  const last = state.samples[state.samples.length - 1]
  if (first === undefined || last === undefined || last.at <= first.at) return 0
  return (of(last) - of(first)) * 1000 / (last.at - first.at)
}

const whole = (value: number): string => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",")

const millis = (value: number): string =>
  value < 10_000 ? `${short(Number(value.toPrecision(3)))} ms` : `${(value / 1000).toFixed(1)} s`

interface Piece {
  readonly label: string
  readonly text: string
  readonly bad?: boolean
}

const pieces = (state: State, figures: Figures, curve: number): ReadonlyArray<ReadonlyArray<Piece>> => {
  const loss = state.losses[state.losses.length - 1]
  const flying = figures.inFlight.filter(({ value }) => value > 0)
  const byOperation = new Map<string, number>()
  for (const { labels, value } of flying) {
    const operation = labels["operation"] ?? "other"
    byOperation.set(operation, (byOperation.get(operation) ?? 0) + value)
  }
  const total = flying.reduce((sum, { value }) => sum + value, 0)
  const parts = Array.from(byOperation, ([operation, value]) => `${operation} ${value}`).join(", ")
  const queues = Array.from(state.queues.values(), ({ id, source, state }) => `${source} ${scrub(id, 40)} ${state}`)
  const breakers = Array.from(state.breakers, ([key, to]) => `${key.slice(0, key.indexOf(" "))} ${to}`)
  return [
    [
      { label: "step", text: whole(state.step) },
      {
        label: "loss",
        text: loss === undefined
          ? "–"
          : `${short(loss)}${curve > 0 ? ` ${sparkline(state.losses, { width: curve })}` : ""}`
      },
      { label: "trained", text: `${whole(rate(state, ({ trained }) => trained))} tok/s` },
      { label: "sampled", text: `${whole(rate(state, ({ sampled }) => sampled))} tok/s` }
    ],
    [
      { label: "in flight", text: total === 0 ? "0" : `${whole(total)} (${parts})` },
      { label: "ok", text: whole(figures.success) },
      { label: "failed", text: whole(figures.failure), bad: figures.failure > 0 },
      { label: "retried", text: whole(figures.retries) }
    ],
    figures.latency === null
      ? [{ label: "latency", text: "–" }]
      : [
        { label: "p50", text: millis(figures.latency.p50) },
        { label: "p95", text: millis(figures.latency.p95) },
        { label: "p99", text: millis(figures.latency.p99) }
      ],
    [
      { label: "queue", text: queues.length === 0 ? "active" : queues.join(", "), bad: queues.length > 0 },
      { label: "breaker", text: breakers.length === 0 ? "closed" : breakers.join(", "), bad: breakers.length > 0 },
      ...(figures.backoffMs > 0 ? [{ label: "back-off", text: millis(figures.backoffMs), bad: true }] : [])
    ]
  ]
}

/** Lines of at most `columns` characters, colour not counted: a longer line would wrap, and the block could not be erased. */
export const block = (
  state: State,
  figures: Figures,
  { color, columns }: { readonly color: boolean; readonly columns: number }
): ReadonlyArray<string> => {
  const sgr = (code: string, text: string): string => color ? `\u001b[${code}m${text}\u001b[0m` : text
  return pieces(state, figures, Math.min(24, Math.max(0, columns - 56))).map((row) => {
    let room = Math.max(1, columns - 1)
    let out = ""
    row.forEach(({ bad, label, text }, i) => {
      const gap = i === 0 ? "" : "  "
      const wanted = `${gap}${label} `
      const head = wanted.slice(0, room)
      room -= head.length
      const body = scrub(text, Math.max(1, room)).slice(0, room)
      room -= body.length
      out += sgr("2", head) + (body === "" ? "" : sgr(bad === true ? "33" : "1", body))
    })
    return out
  })
}

export const line = (state: State, figures: Figures): string =>
  pieces(state, figures, 0).flat().map(({ label, text }) => `${label} ${text}`).join(" · ")
