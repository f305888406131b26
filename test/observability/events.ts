/** One event of each kind, for tests that go through all of them. */
import type { Of, TelemetryEvent } from "../../src/observability/TelemetryEvent.js"

export const http = {
  method: "POST",
  route: "/api/v1/forward_backward",
  operation: "training",
  tenant: "ab12cd34",
  attempt: 0
} as const

export const httpStop = (over: Partial<Of<"HttpStop">> = {}): TelemetryEvent => ({
  _tag: "HttpStop",
  ...http,
  status: 200,
  durationMs: 12,
  ...over
})

export const oneOfEach: { readonly [Tag in TelemetryEvent["_tag"]]: Of<Tag> } = {
  HttpStart: { _tag: "HttpStart", ...http },
  HttpStop: { _tag: "HttpStop", ...http, status: 200, durationMs: 12 },
  HttpException: { _tag: "HttpException", ...http, error: "Timeout", durationMs: 60_000 },
  Retry: {
    _tag: "Retry",
    route: http.route,
    operation: "training",
    tenant: http.tenant,
    attempt: 0,
    delayMs: 500,
    reason: "503"
  },
  RateLimited: { _tag: "RateLimited", tenant: http.tenant, delayMs: 5000, status: 429 },
  RateLimitCleared: { _tag: "RateLimitCleared", tenant: http.tenant },
  QueueState: {
    _tag: "QueueState",
    source: "training",
    id: "model-1",
    state: "paused_capacity",
    previous: "active",
    reason: "no more room",
    requestId: "r1"
  },
  BreakerTransition: {
    _tag: "BreakerTransition",
    tenant: http.tenant,
    operation: "training",
    from: "closed",
    to: "open",
    opensForMs: 30_000
  },
  BreakerRejected: { _tag: "BreakerRejected", tenant: http.tenant, operation: "training" },
  BatchStart: { _tag: "BatchStart", kind: "forward_backward", items: 4 },
  BatchStop: { _tag: "BatchStop", kind: "forward_backward", items: 4, requests: 2, failed: 1, durationMs: 900 },
  SessionStart: { _tag: "SessionStart", tenant: http.tenant, sessionId: "s1" },
  SessionHeartbeat: { _tag: "SessionHeartbeat", tenant: http.tenant, sessionId: "s1" },
  SessionHeartbeatFailed: {
    _tag: "SessionHeartbeatFailed",
    tenant: http.tenant,
    sessionId: "s1",
    failures: 2,
    sinceSuccessMs: 20_000,
    error: "Timeout"
  },
  SessionRecovered: { _tag: "SessionRecovered", tenant: http.tenant, sessionId: "s1", failures: 2 },
  SessionEnd: { _tag: "SessionEnd", tenant: http.tenant, sessionId: "s1", durationMs: 61_000 },
  FutureStart: { _tag: "FutureStart", requestId: "r1", operation: "training" },
  FuturePoll: { _tag: "FuturePoll", requestId: "r1", operation: "training", iteration: 1, ageMs: 45_000 },
  FutureDone: {
    _tag: "FutureDone",
    requestId: "r1",
    operation: "training",
    outcome: "success",
    iterations: 2,
    ageMs: 46_000
  },
  FutureTimeout: { _tag: "FutureTimeout", requestId: "r2", operation: "training", iterations: 40, ageMs: 1_800_000 },
  TrainingPass: { _tag: "TrainingPass", modelId: "model-1", examples: 8, tokens: 1000, loss: 500, weight: 250 },
  TrainingStep: { _tag: "TrainingStep", modelId: "model-1", step: 3, durationMs: 800 },
  CustomLoss: {
    _tag: "CustomLoss",
    modelId: "model-1",
    loss: 0.5,
    regularizers: { l2: 0.25, entropy: 0.125 },
    durationMs: 15
  },
  Sampled: {
    _tag: "Sampled",
    samplerId: "sampler-1",
    sequences: 2,
    tokens: 64,
    promptTokens: 10,
    cachedTokens: 4,
    durationMs: 300
  },
  MetricsReading: {
    _tag: "MetricsReading",
    metrics: { timestamp: 0, counters: {}, gauges: {}, histograms: {}, summaries: {} }
  }
}

export const allEvents: ReadonlyArray<TelemetryEvent> = Object.values(oneOfEach)
