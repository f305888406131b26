/**
 * The endpoints of the protocol whose bodies are JSON in both directions, as one description for a server and its OpenAPI
 * page. `forward_backward`, `asample`, `retrieve_future` and archives are plain routes: they carry protobuf, wait or
 * redirect. Clients take paths from `Routes` and schemas from the other modules, and do not need this one.
 *
 * @since 0.1.0
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as Schema from "effect/Schema"
import { ApiErrorSchema } from "./ApiError.js"
import { AuditLogResponse } from "./Audit.js"
import { BillingUsageResponse, CheckpointStorageResponse } from "./Billing.js"
import { CheckpointsResponse, ListQuery, SetTtlRequest, TrainingRun, TrainingRunsResponse } from "./Checkpoint.js"
import { CancelFutureRequest, UntypedFuture } from "./Futures.js"
import { CreateModelRequest, GetInfoRequest, GetInfoResponse, UnloadModelRequest } from "./Model.js"
import { paths, prefix } from "./Routes.js"
import * as Service from "./Service.js"
import * as Session from "./Session.js"
import { TelemetryResponse, TelemetrySendRequest } from "./TelemetryEvents.js"
import { OptimStepRequest } from "./Training.js"
import * as Weights from "./Weights.js"

/** The answer to a request whose result comes later. */
const Accepted = UntypedFuture.annotations(HttpApiSchema.annotations({ status: 202 }))

const Id = Schema.Struct({ id: Schema.String })
const Run = Schema.Struct({ run: Schema.String })
const OfCheckpoint = Schema.Struct({ run: Schema.String, kind: Schema.String, name: Schema.String })

/**
 * Settings, health, capabilities, tokens, telemetry.
 *
 * @since 0.1.0
 * @category groups
 */
export class ServiceGroup extends HttpApiGroup.make("service")
  .add(
    HttpApiEndpoint.post("clientConfig", paths.clientConfig)
      .setPayload(Service.ClientConfigRequest)
      .addSuccess(Service.ClientConfig)
  )
  .add(
    HttpApiEndpoint.post("dynamicConfig", paths.dynamicConfig)
      .setPayload(Service.ClientConfigRequest)
      .addSuccess(Service.DynamicConfig)
  )
  .add(HttpApiEndpoint.post("authToken", paths.authToken).addSuccess(Service.AuthTokenResponse))
  .add(HttpApiEndpoint.get("healthz", paths.healthz).addSuccess(Service.HealthResponse))
  .add(HttpApiEndpoint.get("capabilities", paths.capabilities).addSuccess(Service.ServerCapabilities))
  .add(
    HttpApiEndpoint.post("telemetry", paths.telemetry).setPayload(TelemetrySendRequest).addSuccess(TelemetryResponse)
  )
{}

/**
 * Sessions, sampling sessions and samplers.
 *
 * @since 0.1.0
 * @category groups
 */
export class SessionGroup extends HttpApiGroup.make("sessions")
  .add(
    HttpApiEndpoint.post("create", paths.createSession)
      .setPayload(Session.CreateSessionRequest)
      .addSuccess(Session.CreateSessionResponse)
  )
  .add(
    HttpApiEndpoint.post("heartbeat", paths.sessionHeartbeat)
      .setPayload(Session.SessionHeartbeatRequest)
      .addSuccess(Session.SessionHeartbeatResponse)
  )
  .add(
    HttpApiEndpoint.post("finish", `${paths.sessions}/:id/finish`)
      .setPath(Id)
      .setPayload(Session.FinishSessionRequest)
      .addSuccess(Schema.Struct({}))
  )
  .add(
    HttpApiEndpoint.post("createSampling", paths.createSamplingSession)
      .setPayload(Session.CreateSamplingSessionRequest)
      .addSuccess(Session.CreateSamplingSessionResponse)
  )
  .add(HttpApiEndpoint.get("sampler", "/samplers/:id").setPath(Id).addSuccess(Session.GetSamplerResponse))
{}

/**
 * Models and their training. Results of all but `getInfo` come as futures.
 *
 * @since 0.1.0
 * @category groups
 */
export class ModelGroup extends HttpApiGroup.make("models")
  .add(HttpApiEndpoint.post("create", paths.createModel).setPayload(CreateModelRequest).addSuccess(Accepted))
  .add(HttpApiEndpoint.post("getInfo", paths.getInfo).setPayload(GetInfoRequest).addSuccess(GetInfoResponse))
  .add(HttpApiEndpoint.post("unload", paths.unloadModel).setPayload(UnloadModelRequest).addSuccess(Accepted))
  .add(HttpApiEndpoint.post("optimStep", paths.optimStep).setPayload(OptimStepRequest).addSuccess(Accepted))
{}

/**
 * Saving and loading weights. Results of all but `info` come as futures.
 *
 * @since 0.1.0
 * @category groups
 */
export class WeightsGroup extends HttpApiGroup.make("weights")
  .add(HttpApiEndpoint.post("save", paths.saveWeights).setPayload(Weights.SaveWeightsRequest).addSuccess(Accepted))
  .add(
    HttpApiEndpoint.post("saveForSampler", paths.saveWeightsForSampler)
      .setPayload(Weights.SaveWeightsForSamplerRequest)
      .addSuccess(Accepted)
  )
  .add(HttpApiEndpoint.post("load", paths.loadWeights).setPayload(Weights.LoadWeightsRequest).addSuccess(Accepted))
  .add(
    HttpApiEndpoint.post("info", paths.weightsInfo)
      .setPayload(Weights.WeightsInfoRequest)
      .addSuccess(Weights.WeightsInfoResponse)
  )
{}

/**
 * Training runs, checkpoints and lists of sessions. Checkpoint ids have a slash in them; a server lets `%2F` in for it.
 *
 * @since 0.1.0
 * @category groups
 */
export class CheckpointGroup extends HttpApiGroup.make("checkpoints")
  .add(HttpApiEndpoint.get("runs", paths.trainingRuns).setUrlParams(ListQuery).addSuccess(TrainingRunsResponse))
  .add(
    HttpApiEndpoint.get("run", `${paths.trainingRuns}/:run`).setPath(Run).setUrlParams(ListQuery).addSuccess(
      TrainingRun
    )
  )
  .add(
    HttpApiEndpoint.get("ofRun", `${paths.trainingRuns}/:run/checkpoints`).setPath(Run).addSuccess(CheckpointsResponse)
  )
  .add(HttpApiEndpoint.get("list", paths.checkpoints).setUrlParams(ListQuery).addSuccess(CheckpointsResponse))
  .add(HttpApiEndpoint.del("delete", `${paths.trainingRuns}/:run/checkpoints/:kind/:name`).setPath(OfCheckpoint))
  .add(
    HttpApiEndpoint.post("publish", `${paths.trainingRuns}/:run/checkpoints/:kind/:name/publish`).setPath(OfCheckpoint)
  )
  .add(
    HttpApiEndpoint.del("unpublish", `${paths.trainingRuns}/:run/checkpoints/:kind/:name/publish`).setPath(OfCheckpoint)
  )
  .add(
    HttpApiEndpoint.put("setTtl", `${paths.trainingRuns}/:run/checkpoints/:kind/:name/ttl`)
      .setPath(OfCheckpoint)
      .setPayload(SetTtlRequest)
  )
  .add(HttpApiEndpoint.get("sessions", paths.sessions).setUrlParams(ListQuery).addSuccess(Session.ListSessionsResponse))
  .add(
    HttpApiEndpoint.get("session", `${paths.sessions}/:id`)
      .setPath(Id)
      .setUrlParams(ListQuery)
      .addSuccess(Session.GetSessionResponse)
  )
{}

/**
 * Newer and hosted-only endpoints: cancelling, joining, searching, exports, projects, traces, billing, audit.
 *
 * @since 0.1.0
 * @category groups
 */
export class OrganisationGroup extends HttpApiGroup.make("organisation")
  .add(HttpApiEndpoint.post("cancelFuture", paths.cancelFuture).setPayload(CancelFutureRequest))
  .add(
    HttpApiEndpoint.post("joinSampling", paths.joinSamplingSession)
      .setPayload(Session.JoinSamplingSessionRequest)
      .addSuccess(Session.JoinSamplingSessionResponse)
  )
  .add(
    HttpApiEndpoint.post("searchSessions", paths.searchSessions)
      .setPayload(Session.SessionSearchRequest)
      .addSuccess(Session.SessionSearchResponse)
  )
  .add(
    HttpApiEndpoint.put("setProject", `${paths.sessions}/:id/project`)
      .setPath(Id)
      .setPayload(Session.SetSessionProjectRequest)
  )
  .add(
    HttpApiEndpoint.get("traceExport", `${paths.sessions}/:id/trace_export`)
      .setPath(Id)
      .addSuccess(Session.TraceExportResponse)
  )
  .add(
    HttpApiEndpoint.post("saveExternal", paths.saveWeightsExternal)
      .setPayload(Weights.SaveWeightsExternalRequest)
      .addSuccess(Accepted)
  )
  .add(
    HttpApiEndpoint.get("externalUrls", `${paths.trainingRuns}/:run/checkpoints/:kind/:name/external_weights_urls`)
      .setPath(OfCheckpoint)
      .addSuccess(Weights.ExternalWeightsUrlsResponse)
  )
  .add(
    HttpApiEndpoint.post("copyWeights", paths.copyWeights)
      .setPayload(Weights.CopyWeightsRequest)
      .addSuccess(Weights.CopyWeightsResponse)
  )
  .add(
    HttpApiEndpoint.get("billingUsage", paths.billingUsage)
      .setUrlParams(Schema.Struct({ starting_on: Schema.String, ending_before: Schema.String }))
      .addSuccess(BillingUsageResponse)
  )
  .add(
    HttpApiEndpoint.get("checkpointStorage", paths.checkpointStorage)
      .setUrlParams(Schema.Struct({ project_id: Schema.optional(Schema.String) }))
      .addSuccess(CheckpointStorageResponse)
  )
  .add(
    HttpApiEndpoint.get("audit", paths.audit)
      .setUrlParams(Schema.Struct({ event_type: Schema.optional(Schema.String), day: Schema.optional(Schema.String) }))
      .addSuccess(AuditLogResponse)
  )
{}

/**
 * What training and sampling need. Every endpoint can answer an `ApiError`, `{"detail": ...}` with its status.
 *
 * @since 0.1.0
 * @category apis
 */
export class TinkerApi extends HttpApi.make("tinker")
  .add(ServiceGroup)
  .add(SessionGroup)
  .add(ModelGroup)
  .add(WeightsGroup)
  .addError(ApiErrorSchema)
  .prefix(prefix)
{}

/**
 * `TinkerApi` with what manages runs and checkpoints.
 *
 * @since 0.1.0
 * @category apis
 */
export class TinkerRestApi extends HttpApi.make("tinker")
  .add(ServiceGroup)
  .add(SessionGroup)
  .add(ModelGroup)
  .add(WeightsGroup)
  .add(CheckpointGroup)
  .addError(ApiErrorSchema)
  .prefix(prefix)
{}

/**
 * Every JSON endpoint of the protocol.
 *
 * @since 0.1.0
 * @category apis
 */
export class TinkerCompleteApi extends HttpApi.make("tinker")
  .add(ServiceGroup)
  .add(SessionGroup)
  .add(ModelGroup)
  .add(WeightsGroup)
  .add(CheckpointGroup)
  .add(OrganisationGroup)
  .addError(ApiErrorSchema)
  .prefix(prefix)
{}
