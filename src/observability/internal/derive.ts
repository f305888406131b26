/** From events to the built-in metrics: emitting an event is all that the rest of the code has to do. */
import { MetricNames as names } from "../MetricNames.js"
import type { Labels } from "../MetricSnapshot.js"
import type { BreakerStateName, Of, Operation, QueueSource, QueueStateName, Stamped } from "../TelemetryEvent.js"
import { mostKept, remember } from "./bounded.js"
import type { Registry } from "./registry.js"

const breakerCode: { readonly [K in BreakerStateName]: number } = { closed: 0, open: 1, half_open: 2 }
const queueCode: { readonly [K in QueueStateName]: number } = {
  active: 0,
  paused_rate_limit: 1,
  paused_capacity: 2,
  unknown: 3
}

/** A number per pair of labels that goes up and down. */
class UpDown {
  private readonly cells = new Map<string, { readonly labels: Labels; value: number }>()
  add(by: number, operation: Operation, tenant?: string): void {
    const key = tenant === undefined ? operation : `${operation} ${tenant}`
    let cell = this.cells.get(key)
    if (cell === undefined) {
      cell = { labels: tenant === undefined ? { operation } : { operation, tenant }, value: 0 }
      if (this.cells.size < mostKept) this.cells.set(key, cell)
    }
    // Whoever begins to listen in the middle sees ends without starts.
    cell.value = Math.max(0, cell.value + by)
  }
  read(): ReadonlyArray<{ readonly labels: Labels; readonly value: number }> {
    return Array.from(this.cells.values())
  }
}

type At = { readonly timestamp: number }

/** One value for each of `labels`, out of pairs of a label and a number; 0 where there is none. */
const each = (
  name: string,
  labels: Iterable<string>,
  pairs: ReadonlyArray<readonly [string, number]>,
  combine: (a: number, b: number) => number
) => {
  const found = new Map<string, number>(Array.from(labels, (label) => [label, 0]))
  for (const [label, value] of pairs) found.set(label, combine(found.get(label) ?? 0, value))
  return Array.from(found, ([label, value]) => ({ labels: { [name]: label }, value }))
}

const plus = (a: number, b: number): number => a + b

/** A poll that is answered 408 was told "not yet": progress, not failure (docs/protocol/futures.md#answers-to-a-poll). */
const isSuccess = (status: number, operation: Operation): boolean =>
  status < 400 || (status === 408 && operation === "futures")

/** Answers what to call with every event. What is current, rather than added up, is kept here and outlives a reset. */
export const derive = (registry: Registry): (event: Stamped) => void => {
  const requests = new UpDown()
  const futures = new UpDown()
  const sessions = new Map<string, { readonly tenant: string; readonly aliveAt: number }>()
  const breakers = new Map<string, { readonly labels: Labels; readonly value: number }>()
  const backoffs = new Map<string, number>()
  const queues = new Map<string, { readonly source: QueueSource; readonly code: number }>()
  const sources = new Set<QueueSource>()
  const tenants = new Map<string, true>()

  registry.observe(names.requestsInFlight, () => requests.read())
  registry.observe(names.futuresInFlight, () => futures.read())
  registry.observe(names.circuitBreakerState, () => Array.from(breakers.values()))
  registry.observe(names.sessionsActive, () => {
    const pairs = Array.from(sessions.values(), ({ tenant }) => [tenant, 1] as const)
    return each("tenant", tenants.keys(), pairs, plus)
  })
  registry.observe(names.heartbeatAge, (now) => {
    const pairs = Array.from(sessions.values(), ({ aliveAt, tenant }) => [tenant, now - aliveAt] as const)
    return each("tenant", tenants.keys(), pairs, Math.max)
  })
  registry.observe(names.rateLimitBackoff, (now) => {
    const pairs = Array.from(backoffs, ([tenant, until]) => [tenant, until - now] as const)
    return each("tenant", backoffs.keys(), pairs, Math.max)
  })
  registry.observe(names.queueState, () => {
    const pairs = Array.from(queues.values(), ({ code, source }) => [source, code] as const)
    return each("source", sources, pairs, Math.max)
  })
  registry.observe(names.queuePaused, () => {
    const pairs = Array.from(queues.values(), ({ source }) => [source, 1] as const)
    return each("source", sources, pairs, plus)
  })

  const ended = (event: Of<"HttpStop" | "HttpException"> & At, outcome: string): void => {
    const labels = { operation: event.operation, tenant: event.tenant }
    requests.add(-1, event.operation, event.tenant)
    registry.increment(names.requestsTotal, 1, labels)
    registry.increment(outcome, 1, labels)
    registry.recordHistogram(names.requestDuration, event.durationMs, event.timestamp, labels)
  }

  const futureEnded = (event: Of<"FutureDone" | "FutureTimeout"> & At, outcome: string): void => {
    const labels = { operation: event.operation }
    futures.add(-1, event.operation)
    registry.increment(names.futuresDone, 1, { operation: event.operation, outcome })
    registry.recordHistogram(names.futurePollIterations, event.iterations, event.timestamp, labels)
    registry.recordHistogram(names.futureAge, event.ageMs, event.timestamp, labels)
  }

  return (event) => {
    const now = event.timestamp
    switch (event._tag) {
      case "HttpStart":
        return requests.add(1, event.operation, event.tenant)
      case "HttpStop":
        return ended(event, isSuccess(event.status, event.operation) ? names.requestsSuccess : names.requestsFailure)
      case "HttpException":
        return ended(event, event.error === "Interrupted" ? names.requestsInterrupted : names.requestsFailure)
      case "Retry": {
        const { operation, reason, tenant } = event
        return void registry.increment(names.retries, 1, { operation, tenant, reason })
      }
      case "RateLimited":
        remember(backoffs, event.tenant, now + event.delayMs)
        return void registry.increment(names.rateLimitBackoffs, 1, {
          tenant: event.tenant,
          status: String(event.status)
        })
      case "RateLimitCleared":
        return remember(backoffs, event.tenant, now)
      case "QueueState": {
        const { id, source, state } = event
        const key = `${source} ${id}`
        sources.add(source)
        if (state === "active") queues.delete(key)
        else remember(queues, key, { source, code: queueCode[state] })
        return void registry.increment(names.queueTransitions, 1, { source, state })
      }
      case "BreakerTransition": {
        const { operation, tenant, to } = event
        const labels = { operation, tenant }
        remember(breakers, `${operation} ${tenant}`, { labels, value: breakerCode[to] })
        if (to === "open") registry.increment(names.circuitBreakerOpens, 1, labels)
        return
      }
      case "BreakerRejected":
        return void registry.increment(names.circuitBreakerRejected, 1, {
          operation: event.operation,
          tenant: event.tenant
        })
      case "BatchStart":
        return void registry.recordHistogram(names.batchSize, event.items, now, { kind: event.kind })
      case "BatchStop": {
        const labels = { kind: event.kind }
        registry.recordHistogram(names.batchDuration, event.durationMs, now, labels)
        registry.increment(names.batchItems, event.items, labels)
        return void registry.increment(names.batchFailures, event.failed, labels)
      }
      case "SessionRecovered":
        if (event.replacedSessionId !== undefined) sessions.delete(event.replacedSessionId)
        remember(tenants, event.tenant, true)
        return remember(sessions, event.sessionId, { tenant: event.tenant, aliveAt: now })
      case "SessionStart":
      case "SessionHeartbeat":
        remember(tenants, event.tenant, true)
        return remember(sessions, event.sessionId, { tenant: event.tenant, aliveAt: now })
      case "SessionHeartbeatFailed":
        return void registry.increment(names.heartbeatFailures, 1, { tenant: event.tenant })
      case "SessionEnd":
        return void sessions.delete(event.sessionId)
      case "FutureStart":
        return futures.add(1, event.operation)
      case "FutureDone":
        return futureEnded(event, event.outcome)
      case "FutureTimeout":
        registry.increment(names.futureTimeouts, 1, { operation: event.operation })
        return futureEnded(event, "timeout")
      case "TrainingPass": {
        registry.increment(names.tokensTrained, event.tokens)
        if (event.loss === undefined) return
        const per = event.weight !== undefined && event.weight > 0 ? event.weight : 1
        return void registry.recordSummary(names.trainingLoss, event.loss / per, now)
      }
      case "TrainingStep":
        registry.increment(names.trainingSteps, 1)
        return void registry.recordHistogram(names.trainingStepDuration, event.durationMs, now)
      case "CustomLoss":
        registry.recordHistogram(names.customLossDuration, event.durationMs, now)
        for (const [regularizer, loss] of Object.entries(event.regularizers)) {
          registry.recordSummary(names.regularizerLoss, loss, now, { regularizer })
        }
        return
      case "Sampled":
        countTokens(registry, event)
        return void registry.recordHistogram(names.samplingDuration, event.durationMs, now)
      case "FuturePoll":
      case "MetricsReading":
        return
    }
  }
}

const countTokens = (registry: Registry, event: Of<"Sampled">): void => {
  registry.increment(names.tokensSampled, event.tokens)
  registry.increment(names.tokensPrompted, event.promptTokens)
  registry.increment(names.tokensCached, event.cachedTokens ?? 0)
}
