/**
 * Rules at work: which faults a point of a request gets.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as ParseResult from "effect/ParseResult"
import type { Fault as Injected, FaultPoint } from "../../server/FaultInjector.js"
import type { Counts, Fault, FaultScript, Rule } from "../FaultScript.js"

/** @internal */
const endpoints = [
  "healthz",
  "config",
  "dynamic_config",
  "token",
  "get_server_capabilities",
  "telemetry",
  "create_session",
  "session_heartbeat",
  "sessions",
  "finish",
  "create_model",
  "get_info",
  "unload_model",
  "copy_weights",
  "forward_backward",
  "forward",
  "optim_step",
  "create_custom_loss",
  "save_weights",
  "save_weights_for_sampler",
  "save_weights_external",
  "load_weights",
  "weights_info",
  "create_sampling_session",
  "join_sampling_session",
  "samplers",
  "asample",
  "cancel_future",
  "retrieve_future",
  "retrieve_futures",
  "training_runs",
  "checkpoints",
  "archive",
  "publish",
  "ttl",
  "files",
  "storage"
] as const

/** @internal */
export const isEndpoint = (text: string): text is (typeof endpoints)[number] => endpoints.some((one) => one === text)

/** One problem a place, the first: what follows says what else a union would have taken. */
export const problemsOf = (error: ParseResult.ParseError): ReadonlyArray<string> => {
  const seen = new Map<string, string>()
  for (const { message, path } of ParseResult.ArrayFormatter.formatErrorSync(error)) {
    const place = path.length === 0 ? "the script" : path.map(String).join(".")
    if (!seen.has(place)) seen.set(place, `${place}: ${message.replaceAll(/\s+/g, " ")}`)
  }
  return [...seen.values()]
}

/** Between 0 and 1, from the seed, the rule and the number of the request: no state, so nothing else can disturb it. */
const dice = (seed: number, rule: number, n: number): number => {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(rule + 1, 0xc2b2ae35) ^ Math.imul(n + 1, 0x27d4eb2f)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32
}

const phaseOf = (fault: Fault): FaultPoint["phase"] => {
  switch (fault.type) {
    case "latency":
      return fault.when === "before" ? "request" : fault.when === "applied" ? "applied" : "reply"
    case "status":
    case "reset":
      return fault.when === "before" ? "request" : "reply"
    case "rateLimited":
    case "sessionExpired":
      return "request"
    case "storageFailure":
      return "storage"
    default:
      return "reply"
  }
}

const matches = (rule: Rule, point: FaultPoint): boolean => {
  if (phaseOf(rule.fault) !== point.phase) return false
  if (rule.fault.type === "storageFailure") return rule.fault.step === undefined || rule.fault.step === point.step
  const { endpoint } = rule
  if (endpoint === undefined) return true
  return typeof endpoint === "string" ? endpoint === point.endpoint : endpoint.some((one) => one === point.endpoint)
}

const words = "injected by the fault script"

const bodyOf = (status: number, detail: string | undefined, point: FaultPoint): object =>
  status === 408 && point.endpoint === "retrieve_future"
    ? { type: "try_again", queue_state: "active", detail: detail ?? words }
    : { detail: detail ?? words }

const injectedOf = (fault: Fault, point: FaultPoint): Injected => {
  switch (fault.type) {
    case "latency":
      return { _tag: "Delay", duration: fault.duration }
    case "rateLimited":
      return {
        _tag: "Respond",
        status: 429,
        body: { detail: words },
        headers: fault.retryAfter === undefined
          ? undefined
          : { "retry-after-ms": String(Duration.toMillis(fault.retryAfter)) }
      }
    case "status":
      return {
        _tag: "Respond",
        status: fault.status,
        headers: fault.headers,
        body: bodyOf(fault.status, fault.detail, point)
      }
    case "reset":
      return { _tag: "Reset" }
    case "truncated":
      return { _tag: "Truncate", bytes: fault.bytes }
    case "malformed":
      return { _tag: "Malform" }
    case "slowDrip":
      return { _tag: "Drip", bytes: fault.bytes, interval: fault.interval }
    case "sessionExpired":
      return {
        _tag: "Respond",
        status: point.endpoint === "session_heartbeat" ? 404 : 403,
        body: { detail: "Session has expired; create a new one" }
      }
    case "storageFailure":
      return { _tag: "Fail" }
  }
}

/** @internal */
export const start = (script: FaultScript) => {
  const states = script.rules.map((rule) => ({ rule, seen: 0, injected: 0, left: 0 }))
  const decide = (point: FaultPoint): ReadonlyArray<Injected> => {
    const faults: Array<Injected> = []
    states.forEach((state, i) => {
      const { rule } = state
      if (!matches(rule, point)) return
      const n = state.seen++
      if (n < rule.skip || (rule.count !== undefined && state.injected >= rule.count)) return
      if (state.left === 0 && dice(script.seed, i, n) < rule.probability) state.left = rule.burst
      if (state.left === 0) return
      state.left--
      state.injected++
      faults.push(injectedOf(rule.fault, point))
    })
    return faults
  }
  const counts = (): ReadonlyArray<Counts> => states.map(({ injected, rule, seen }) => ({ rule, seen, injected }))
  return { counts, decide }
}
