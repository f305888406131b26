/** Services: what happens when one is opened, and how models come to be. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { attributes } from "../../observability/Spans.js"
import { Telemetry } from "../../observability/Telemetry.js"
import { attempt, InvalidInput } from "../../protocol/InvalidInput.js"
import { CreateModelRequest, CreateModelResponse, modelIdOf } from "../../protocol/Model.js"
import { shown } from "../../protocol/numbers.js"
import * as Protocol from "../../protocol/Service.js"
import { parse as parsePath } from "../../protocol/TinkerPath.js"
import { type LoraConfig, loraConfig } from "../../protocol/Training.js"
import { LoadWeightsRequest, LoadWeightsResponse, WeightsInfoResponse } from "../../protocol/Weights.js"
import * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import * as TinkexConfig from "../../TinkexConfig.js"
import { mayHaveArrived, type TinkexError } from "../../TinkexError.js"
import { make as makeTokenizers, Tokenizers } from "../../tokenizer/Tokenizers.js"
import * as TokenizerSource from "../../tokenizer/TokenizerSource.js"
import * as Future from "../Future.js"
import * as Futures from "../future/future.js"
import * as Polling from "../future/polling.js"
import * as QueueObserver from "../future/queueObserver.js"
import { methodSpan } from "../methodSpans.js"
import * as Monotonic from "../monotonic.js"
import * as Names from "../options.js"
import * as Reports from "../reporting/reports.js"
import * as TelemetryReporter from "../reporting/telemetryReporter.js"
import * as SamplingClient from "../sampling/samplingClient.js"
import { SamplingRegistry } from "../SamplingRegistry.js"
import type { Client, LoraOptions, StateOptions, TypeId as ServiceClientTypeId } from "../ServiceClient.js"
import * as Training from "../training/trainingClient.js"
import type * as TrainingClient from "../TrainingClient.js"
import { sdkVersion } from "../transport/headers.js"
import { decodeAnswer, jsonBody } from "../transport/json.js"
import { submit } from "../transport/submit.js"
import * as Transport from "../transport/transport.js"
import type { Delivery, InternalTransport, Requirements } from "../transport/types.js"
import { type Core, makeCounter, type Outstanding } from "./core.js"
import * as Session from "./session.js"

export const TypeId: ServiceClientTypeId = Symbol.for("tinkex/ServiceClient") as ServiceClientTypeId

const Proto = {
  ...Inspectable.BaseProto,
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  },
  toJSON(this: Client) {
    return { _id: "tinkex/ServiceClient", sessionId: this.sessionId, settings: this.settings.toJSON() }
  }
}

const leastRefresh = 10
const refreshTimeout = Duration.seconds(10)

const encodeCreateModel = Schema.encodeSync(CreateModelRequest)
const encodeLoad = Schema.encodeSync(LoadWeightsRequest)
const createModelResult = Polling.resultType("CreateModel", CreateModelResponse)
const loadResult = Polling.resultType("LoadWeights", LoadWeightsResponse)

/** Config, credential and, from time to time, the flags that may change. */
const connect = (transport: InternalTransport) =>
  Effect.gen(function*() {
    const body = jsonBody({ sdk_version: sdkVersion })
    const answer = yield* transport.send({
      operation: "client/config",
      method: "POST",
      path: "client/config",
      pool: "service",
      body
    })
    const config = yield* decodeAnswer(answer, Protocol.ClientConfig, "client/config", transport.redact)
    const limits = yield* decodeAnswer(answer, Protocol.ClientLimits, "client/config", transport.redact)
    yield* Effect.mapError(transport.adopt(config), mayHaveArrived)
    const fetchDynamic = transport.json({
      operation: "client/dynamic_config",
      method: "POST",
      path: "client/dynamic_config",
      pool: "session",
      // what becomes of it says nothing about sessions
      unguarded: true,
      times: 0,
      timeout: refreshTimeout,
      body
    }, Protocol.DynamicConfig)
    const dynamic = {
      // what is optional does not stop the start; it is asked for again later
      current: yield* Effect.catchAll(
        fetchDynamic,
        (error) => Effect.as(Effect.logDebug(error.message), Protocol.dynamicConfigDefaults)
      )
    }
    const refresh = Effect.suspend(() =>
      Effect.sleep(Duration.seconds(Math.max(leastRefresh, dynamic.current.refreshIntervalSec)))
    ).pipe(
      Effect.zipRight(Effect.matchEffect(fetchDynamic, {
        // the last known flags stay
        onFailure: (error) => Effect.logDebug(error.message),
        onSuccess: (flags) =>
          Effect.sync(() => {
            dynamic.current = flags
          })
      })),
      Effect.forever
    )
    yield* Effect.forkScoped(Effect.interruptible(refresh))
    return { config, limits, dynamic }
  })

const checkedLora = (options: LoraOptions): { readonly baseModel: string; readonly lora: LoraConfig } => {
  Names.lora(options ?? {})
  const { baseModel, rank, seed, trainAttn, trainMlp, trainUnembed } = options
  const refuse = (field: string, expected: string, actual: string): never => {
    throw new InvalidInput({ field, expected, actual })
  }
  if (typeof baseModel !== "string" || baseModel.trim() === "") refuse("baseModel", "the name of a model", "none")
  const lora = loraConfig({
    ...(rank === undefined ? {} : { rank }),
    ...(seed === undefined ? {} : { seed }),
    ...(trainAttn === undefined ? {} : { trainAttn }),
    ...(trainMlp === undefined ? {} : { trainMlp }),
    ...(trainUnembed === undefined ? {} : { trainUnembed })
  })
  if (!Number.isSafeInteger(lora.rank) || lora.rank < 1) refuse("rank", "a whole number from 1", shown(lora.rank))
  if (lora.seed !== undefined && !Number.isSafeInteger(lora.seed)) refuse("seed", "a whole number", shown(lora.seed))
  if (!lora.trainAttn && !lora.trainMlp && !lora.trainUnembed) {
    refuse("trainMlp, trainAttn, trainUnembed", "at least one of them true", "all false")
  }
  return { baseModel, lora }
}

/** Tokenizers that the server itself has, and behind it those of everybody. */
const serverFirst = (settings: TinkexConfig.Settings, others: Core["tokenizers"]) =>
  Effect.flatMap(
    TokenizerSource.server(settings),
    (own) => makeTokenizers([own, (id) => Effect.asSome(others.get({ modelName: id, tokenizerId: id }))])
  )

export const make = (
  given: TinkexConfig.Settings | TinkexConfig.Options
): Effect.Effect<Client, TinkexError, Requirements | SamplingRegistry | Tokenizers | Scope.Scope> =>
  Effect.gen(function*() {
    const settings = TinkexConfig.isSettings(given) ? given : yield* TinkexConfig.make(given)
    const telemetry = yield* Telemetry
    const registry = yield* SamplingRegistry
    const tokenizers = settings.hosted ? yield* Tokenizers : yield* serverFirst(settings, yield* Tokenizers)
    const unwatched = yield* Transport.make(settings)
    const { config, dynamic, limits } = yield* connect(unwatched)
    const session = yield* Effect.mapError(Session.open(unwatched, telemetry), mayHaveArrived)
    const reporter = yield* TelemetryReporter.make({ transport: unwatched, sessionId: session.id })
    const transport = Reports.watched(unwatched, reporter)
    const scope = yield* Effect.scope
    const outstanding = new Set<Outstanding>()
    const core: Core = {
      transport,
      telemetry,
      session,
      reporter,
      config,
      limits,
      dynamic,
      registry,
      tokenizers,
      responses: yield* Effect.orDie(
        ConcurrencyGate.make(`${session.id}/responses`, {
          permits: Number.POSITIVE_INFINITY,
          bytes: config.inflightResponseBytes,
          adaptive: false,
          pacing: "off"
        })
      ),
      outstanding,
      models: makeCounter(),
      samplers: makeCounter(),
      scope
    }
    const home = yield* Futures.makeHome(`service client of session ${session.id}`)

    /** Asks for a model under the next number, and waits for it. */
    const newModel = <A>(options: {
      readonly operation: string
      readonly subject: string
      readonly path: string
      readonly result: Polling.ResultType<A>
      readonly body: (modelSeqId: number) => object
    }) =>
      Effect.gen(function*() {
        yield* session.check(options.operation)
        const modelSeqId = core.models.take()
        const delivery: Delivery = { maybe: false }
        const startedAt = yield* Monotonic.millis
        const { requestId } = yield* Effect.onExit(
          submit(transport, {
            operation: options.operation,
            path: options.path,
            pool: "training",
            delivery,
            body: jsonBody(options.body(modelSeqId))
          }),
          (exit) =>
            Effect.sync(() => {
              if (Exit.isFailure(exit) && !delivery.maybe) core.models.giveBack(modelSeqId)
            })
        )
        const future = yield* Futures.start(core, home, {
          operation: options.operation,
          kind: "training",
          requestId,
          result: options.result,
          observer: QueueObserver.make(telemetry, "model_creation", options.subject),
          startedAt
        })
        return { modelSeqId, value: yield* Future.await(future) }
      })

    const createLora = (
      baseModel: string,
      lora: LoraConfig,
      userMetadata: Readonly<Record<string, unknown>> | undefined
    ): Effect.Effect<TrainingClient.Client, TinkexError, Scope.Scope> =>
      Effect.flatMap(
        newModel({
          operation: `create_model (${baseModel})`,
          subject: baseModel,
          path: "create_model",
          result: createModelResult,
          body: (modelSeqId) =>
            encodeCreateModel({
              sessionId: session.id,
              modelSeqId,
              baseModel,
              loraConfig: lora,
              optimizerConfig: { type: "adamw" },
              ...(userMetadata === undefined ? {} : { userMetadata })
            })
        }),
        ({ value }) => Training.make(core, value.modelId, baseModel)
      )

    const fromState =
      (optimizer: boolean) =>
      (path: string, options: StateOptions = {}): Effect.Effect<TrainingClient.Client, TinkexError, Scope.Scope> =>
        Effect.gen(function*() {
          yield* attempt(() => Names.state(options))
          yield* parsePath(path)
          const token = options.weightsAccessToken
          if (token !== undefined) transport.redact.learn(token)
          if (config.createModelViaLoadWeights) {
            const { modelSeqId, value } = yield* newModel({
              operation: `load_weights (${path})`,
              subject: path,
              path: "load_weights",
              result: loadResult,
              body: (modelSeqId) =>
                encodeLoad({
                  sessionId: session.id,
                  modelSeqId,
                  path,
                  optimizer,
                  ...(options.baseModel === undefined ? {} : { baseModel: options.baseModel }),
                  ...(options.userMetadata === undefined ? {} : { userMetadata: options.userMetadata }),
                  ...(token === undefined ? {} : { weightsAccessToken: token })
                })
            })
            return yield* Training.make(core, value.modelId ?? modelIdOf(session.id, modelSeqId), options.baseModel)
          }
          const info = yield* transport.json({
            operation: `weights_info (${path})`,
            method: "POST",
            path: "weights_info",
            pool: "service",
            credential: token,
            body: jsonBody({ tinker_path: path })
          }, WeightsInfoResponse)
          if (!info.isLora || info.loraRank === undefined) {
            return yield* new InvalidInput({
              field: "path",
              expected: "a checkpoint with a LoRA adapter",
              actual: "one of another kind"
            })
          }
          const training = yield* Effect.mapError(
            createLora(
              options.baseModel ?? info.baseModel,
              loraConfig({
                rank: info.loraRank,
                trainAttn: info.trainAttn ?? true,
                trainMlp: info.trainMlp ?? true,
                trainUnembed: info.trainUnembed ?? true
              }),
              options.userMetadata
            ),
            mayHaveArrived
          )
          yield* training.loadState(path, { optimizer, weightsAccessToken: token }).pipe(
            Effect.flatMap(Future.await),
            Effect.mapError(mayHaveArrived)
          )
          return training
        })

    const fields: Omit<Client, keyof typeof Proto> = {
      settings,
      transport,
      reporter,
      sessionId: session.id,
      sessionState: SubscriptionRef.get(session.state),
      sessionChanges: session.state.changes,
      clientConfig: config,
      createLoraTrainingClient: (options) =>
        methodSpan(settings)(
          "ServiceClient.createLoraTrainingClient",
          () => ({ [attributes.sessionId]: session.id, [attributes.baseModel]: options?.baseModel }),
          Effect.flatMap(
            attempt(() => checkedLora(options)),
            ({ baseModel, lora }) => createLora(baseModel, lora, options.userMetadata)
          ),
          ({ modelId }) => ({ [attributes.modelId]: modelId })
        ),
      createTrainingClientFromState: fromState(false),
      createTrainingClientFromStateWithOptimizer: fromState(true),
      createSamplingClient: (options) => SamplingClient.create(core, options),
      serverCapabilities: transport.json({
        operation: "get_server_capabilities",
        method: "GET",
        path: "get_server_capabilities",
        pool: "service"
      }, Protocol.ServerCapabilities),
      tokenizer: (model) => tokenizers.get(typeof model === "string" ? { modelName: model } : model),
      pending: Effect.map(Monotonic.millis, (now) => Array.from(outstanding, (one) => one.describe(now)))
    }
    return Object.assign(Object.create(Proto), fields)
  })
