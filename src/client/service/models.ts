/** How models come to be: fresh ones, and those out of checkpoints. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { compact } from "../../protocol/compact.js"
import { attempt } from "../../protocol/InvalidInput.js"
import { CreateModelRequest, CreateModelResponse, modelIdOf } from "../../protocol/Model.js"
import { shown } from "../../protocol/numbers.js"
import { refuse } from "../../protocol/refuse.js"
import { parse as parsePath } from "../../protocol/TinkerPath.js"
import { type LoraConfig, loraConfig } from "../../protocol/Training.js"
import { LoadWeightsRequest, LoadWeightsResponse, WeightsInfoResponse } from "../../protocol/Weights.js"
import { mayHaveArrived, type TinkexError } from "../../TinkexError.js"
import * as Future from "../Future.js"
import * as Futures from "../future/future.js"
import * as Polling from "../future/polling.js"
import * as QueueObserver from "../future/queueObserver.js"
import * as Monotonic from "../monotonic.js"
import * as Names from "../options.js"
import type { Client, LoraOptions, StateOptions } from "../ServiceClient.js"
import * as Training from "../training/trainingClient.js"
import type * as TrainingClient from "../TrainingClient.js"
import { jsonBody } from "../transport/json.js"
import { submit } from "../transport/submit.js"
import type { Delivery } from "../transport/types.js"
import { type Core } from "./core.js"

const encodeCreateModel = Schema.encodeSync(CreateModelRequest)
const encodeLoad = Schema.encodeSync(LoadWeightsRequest)
const createModelResult = Polling.resultType("CreateModel", CreateModelResponse)
const loadResult = Polling.resultType("LoadWeights", LoadWeightsResponse)

export const checkedLora = (options: LoraOptions): { readonly baseModel: string; readonly lora: LoraConfig } => {
  Names.lora(options ?? {})
  const { baseModel, rank, seed, trainAttn, trainMlp, trainUnembed } = options
  if (typeof baseModel !== "string" || baseModel.trim() === "") refuse("baseModel", "the name of a model", "none")
  const lora = loraConfig(compact({ rank, seed, trainAttn, trainMlp, trainUnembed }))
  if (!Number.isSafeInteger(lora.rank) || lora.rank < 1) refuse("rank", "a whole number from 1", shown(lora.rank))
  if (lora.seed !== undefined && !Number.isSafeInteger(lora.seed)) refuse("seed", "a whole number", shown(lora.seed))
  if (!lora.trainAttn && !lora.trainMlp && !lora.trainUnembed) {
    refuse("trainMlp, trainAttn, trainUnembed", "at least one of them true", "all false")
  }
  return { baseModel, lora }
}

/** How the adapter of a checkpoint was made. */
const loraOf = ({ isLora, loraRank, trainAttn, trainMlp, trainUnembed }: WeightsInfoResponse): LoraConfig =>
  isLora && loraRank !== undefined
    ? loraConfig(compact({ rank: loraRank, trainAttn, trainMlp, trainUnembed }))
    : refuse("path", "a checkpoint with a LoRA adapter", "one of another kind")

export interface Models {
  readonly createLora: (
    baseModel: string,
    lora: LoraConfig,
    userMetadata: Readonly<Record<string, unknown>> | undefined
  ) => Effect.Effect<TrainingClient.Client, TinkexError, Scope.Scope>
  /** With the state of the optimizer, or with weights alone. */
  readonly fromState: (optimizer: boolean) => Client["createTrainingClientFromState"]
}

export const make = (core: Core, home: Futures.Home): Models => {
  const { config, telemetry, transport } = core
  /** Asks for a model under the next number, and waits for it. */
  const newModel = <A>(options: {
    readonly operation: string
    readonly subject: string
    readonly path: string
    readonly result: Polling.ResultType<A>
    readonly body: (modelSeqId: number) => object
  }) =>
    Effect.gen(function*() {
      yield* core.session.check(options.operation)
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
  ) =>
    Effect.flatMap(
      newModel({
        operation: `create_model (${baseModel})`,
        subject: baseModel,
        path: "create_model",
        result: createModelResult,
        body: (modelSeqId) =>
          encodeCreateModel({
            sessionId: core.session.id,
            modelSeqId,
            baseModel,
            loraConfig: lora,
            optimizerConfig: { type: "adamw" },
            ...compact({ userMetadata })
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
                sessionId: core.session.id,
                modelSeqId,
                path,
                optimizer,
                ...compact({
                  baseModel: options.baseModel,
                  userMetadata: options.userMetadata,
                  weightsAccessToken: token
                })
              })
          })
          return yield* Training.make(core, value.modelId ?? modelIdOf(core.session.id, modelSeqId), options.baseModel)
        }
        const info = yield* transport.json({
          operation: `weights_info (${path})`,
          method: "POST",
          path: "weights_info",
          pool: "service",
          credential: token,
          body: jsonBody({ tinker_path: path })
        }, WeightsInfoResponse)
        const lora = yield* attempt(() => loraOf(info))
        const training = yield* Effect.mapError(
          createLora(
            options.baseModel ?? info.baseModel,
            lora,
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

  return { createLora, fromState }
}
