/** The names of the options of clients. What each is for stands at its type. */
import { known } from "../protocol/options.js"
import type { AdamParams } from "../protocol/Training.js"
import type * as CircuitBreaker from "../resilience/CircuitBreaker.js"
import type * as RateLimiter from "../resilience/RateLimiter.js"
import type * as RetryBudget from "../resilience/RetryBudget.js"
import type { PartsOptions } from "./HttpTransport.js"
import type * as Rest from "./RestClient.js"
import type * as Sampling from "./SamplingClient.js"
import type * as Service from "./ServiceClient.js"
import type * as Training from "./TrainingClient.js"

type OptionsOf<F> = F extends (...args: infer A) => unknown
  ? A extends [unknown?, (infer O)?] ? NonNullable<O> & object : never
  : never

export const parts = known<PartsOptions>("the shared parts", { breaker: true, budget: true, limiter: true })

export const limiter = known<RateLimiter.Options>("the limiter", { enabled: true, jitter: true, maxJitter: true })

export const breaker = known<CircuitBreaker.Settings>("the breaker", {
  consecutiveFailures: true,
  enabled: true,
  jitter: true,
  openCap: true,
  openFactor: true,
  openFor: true,
  probeTimeout: true,
  probes: true,
  rate: true,
  successesToClose: true
})

export const breakerRate = known<CircuitBreaker.RateOptions>("the breaker's rate", {
  calls: true,
  failureRate: true,
  minimumCalls: true,
  slowCallDuration: true,
  slowCallRate: true,
  window: true
})

export const budget = known<RetryBudget.Options>("the retry budget", {
  enabled: true,
  minPerSecond: true,
  percent: true,
  ttl: true
})

export const lora = known<Service.LoraOptions>("createLoraTrainingClient", {
  baseModel: true,
  rank: true,
  seed: true,
  trainAttn: true,
  trainMlp: true,
  trainUnembed: true,
  userMetadata: true
})

export const state = known<Service.StateOptions>("createTrainingClientFromState", {
  baseModel: true,
  userMetadata: true,
  weightsAccessToken: true
})

export const model = known<Sampling.ModelOptions>("createSamplingClient", { baseModel: true, modelPath: true })

export const sample = known<Sampling.SampleOptions>("sample", {
  maxTokens: true,
  numSamples: true,
  prompt: true,
  promptAltTokensK: true,
  promptLogprobs: true,
  promptLogprobsLastN: true,
  recordStabilityInfo: true,
  seed: true,
  stop: true,
  targetPromptLogprobs: true,
  temperature: true,
  topK: true,
  topP: true,
  topkPromptLogprobs: true,
  topkSampleLogprobs: true
})

export const computeLogprobs = known<OptionsOf<Sampling.Client["computeLogprobs"]>>("computeLogprobs", { lastN: true })

export const adam = known<AdamParams>("optimStep", {
  beta1: true,
  beta2: true,
  eps: true,
  gradClipNorm: true,
  learningRate: true,
  weightDecay: true
})

export const saveState = known<OptionsOf<Training.Client["saveState"]>>("saveState", {
  overwrite: true,
  ttl: true,
  userMetadata: true
})

export const saveWeightsForSampler = known<Training.SaveOptions>("saveWeightsForSampler", {
  ttl: true,
  userMetadata: true
})

export const saveWeightsExternal = known<OptionsOf<Training.Client["saveWeightsExternal"]>>("saveWeightsExternal", {
  ageEncryptionRecipients: true,
  ttl: true
})

export const loadState = known<OptionsOf<Training.Client["loadState"]>>("loadState", {
  optimizer: true,
  weightsAccessToken: true
})

const scopes = { accessScope: true } as const
const pages = { limit: true, offset: true } as const

export const scope = known<Rest.ScopeOptions>("this request", scopes)

export const page = known<Rest.PageOptions>("a page", pages)

export const runPage = known<NonNullable<Parameters<Rest.Client["trainingRunsPage"]>[0]>>("trainingRunsPage", {
  ...pages,
  ...scopes,
  projectId: true
})

export const list = known<Rest.ListOptions>("a list", { ...pages, pageSize: true })

export const runList = known<Rest.RunListOptions>("listTrainingRuns", {
  ...pages,
  ...scopes,
  pageSize: true,
  projectId: true
})

export const sessionList = known<Rest.ListOptions & Rest.ScopeOptions>("listSessions", {
  ...pages,
  ...scopes,
  pageSize: true
})

export const search = known<Rest.SearchOptions>("searchSessions", {
  displayName: true,
  owner: true,
  pageSize: true,
  projectIds: true,
  sessionId: true,
  statuses: true,
  userMetadata: true
})

export const copyWeights = known<OptionsOf<Rest.Client["copyWeights"]>>("copyWeights", {
  projectId: true,
  ttl: true,
  weightsAccessToken: true
})

export const storage = known<NonNullable<Parameters<Rest.Client["getCheckpointStorage"]>[0]>>("getCheckpointStorage", {
  projectId: true
})

export const audit = known<NonNullable<Parameters<Rest.Client["getAuditLog"]>[0]>>("getAuditLog", {
  day: true,
  eventType: true
})

/** The front doors say of which types these are; they stand above this room. */
export const shared = known<PartsOptions & { readonly metrics?: unknown; readonly tokenizers?: unknown }>(
  "what clients share",
  {
    ...parts.names,
    metrics: true,
    tokenizers: true
  }
)

export const http = known<{
  readonly connections?: unknown
  readonly keepAliveTimeout?: unknown
  readonly pollConnections?: unknown
}>("Node's HTTP client", { connections: true, keepAliveTimeout: true, pollConnections: true })
