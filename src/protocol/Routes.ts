/**
 * The paths of the protocol. All of them are under `prefix`; ids are written as `TinkerPath.encodeId` writes them.
 *
 * @since 0.1.0
 */
import { checkpointId, encodeId, type TinkerPath } from "./TinkerPath.js"

/**
 * What every path begins with, after the base URL.
 *
 * @since 0.1.0
 * @category constants
 */
export const prefix = "/api/v1"

/**
 * Paths without ids, by what they do. `forward` is only for older clients: training requests that do not change gradients
 * go to `forwardBackward` with `forwardOnly`.
 *
 * @since 0.1.0
 * @category constants
 */
export const paths = {
  clientConfig: "/client/config",
  dynamicConfig: "/client/dynamic_config",
  authToken: "/auth/token",
  healthz: "/healthz",
  capabilities: "/get_server_capabilities",
  telemetry: "/telemetry",
  createSession: "/create_session",
  sessionHeartbeat: "/session_heartbeat",
  createSamplingSession: "/create_sampling_session",
  joinSamplingSession: "/join_sampling_session",
  createModel: "/create_model",
  getInfo: "/get_info",
  unloadModel: "/unload_model",
  forwardBackward: "/forward_backward",
  forward: "/forward",
  optimStep: "/optim_step",
  saveWeights: "/save_weights",
  saveWeightsForSampler: "/save_weights_for_sampler",
  saveWeightsExternal: "/save_weights_external",
  loadWeights: "/load_weights",
  weightsInfo: "/weights_info",
  copyWeights: "/copy_weights",
  asample: "/asample",
  retrieveFuture: "/retrieve_future",
  retrieveFutures: "/retrieve_futures",
  cancelFuture: "/cancel_future",
  createCustomLoss: "/create_custom_loss",
  trainingRuns: "/training_runs",
  checkpoints: "/checkpoints",
  sessions: "/sessions",
  searchSessions: "/sessions/search",
  audit: "/audit",
  billingUsage: "/billing/usage/events",
  checkpointStorage: "/billing/usage/checkpoints/current"
} as const

/**
 * `/samplers/{id}`
 *
 * @since 0.1.0
 * @category paths
 */
export const sampler = (id: string): string => `/samplers/${encodeId(id)}`

/**
 * `/sessions/{id}`, with `finish`, `project` or `trace_export` behind it where given.
 *
 * @since 0.1.0
 * @category paths
 */
export const session = (id: string, action?: "finish" | "project" | "trace_export"): string =>
  withAction(`${paths.sessions}/${encodeId(id)}`, action)

/**
 * `/training_runs/{run}`, with `checkpoints` behind it where given.
 *
 * @since 0.1.0
 * @category paths
 */
export const trainingRun = (run: string, action?: "checkpoints"): string =>
  withAction(`${paths.trainingRuns}/${encodeId(run)}`, action)

/**
 * `/training_runs/{run}/checkpoints/{kind}/{name}`, with an action behind it where given.
 *
 * @since 0.1.0
 * @category paths
 */
export const checkpoint = (
  path: TinkerPath,
  action?: "archive" | "publish" | "ttl" | "external_weights_urls"
): string => withAction(`${trainingRun(path.trainingRunId, "checkpoints")}/${encodeId(checkpointId(path))}`, action)

const withAction = (path: string, action: string | undefined): string =>
  action === undefined ? path : `${path}/${action}`
