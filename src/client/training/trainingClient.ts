/** Models in training. */
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { attempt } from "../../protocol/InvalidInput.js"
import { GetInfoResponse, UnloadModelResponse } from "../../protocol/Model.js"
import { shown } from "../../protocol/numbers.js"
import { refuse } from "../../protocol/refuse.js"
import { type AdamParams, adamParams, OptimStepRequest, OptimStepResponse } from "../../protocol/Training.js"
import * as Future from "../Future.js"
import * as Polling from "../future/polling.js"
import * as Names from "../options.js"
import type { Core } from "../service/core.js"
import type { Client, TypeId as TrainingClientTypeId } from "../TrainingClient.js"
import { jsonBody } from "../transport/json.js"
import * as Methods from "./methods.js"
import * as Operations from "./operations.js"
import * as Passes from "./passes.js"
import * as Weights from "./weights.js"

export const TypeId: TrainingClientTypeId = Symbol.for("tinkex/TrainingClient") as TrainingClientTypeId

const Proto = {
  ...Inspectable.BaseProto,
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  },
  toJSON(this: Client) {
    return { _id: "tinkex/TrainingClient", modelId: this.modelId, baseModel: this.baseModel }
  }
}

const results = {
  optimStep: Polling.resultType("OptimStep", OptimStepResponse),
  unload: Polling.resultType("UnloadModel", UnloadModelResponse)
}

const encodeOptimStep = Schema.encodeSync(OptimStepRequest)

const checkedAdam = (params: Partial<AdamParams> | undefined): AdamParams => {
  Names.adam(params)
  const adam = adamParams(params)
  for (const [field, value] of Object.entries<number>(adam as Readonly<Record<string, number>>)) { // all its fields are numbers
    if (!Number.isFinite(value)) refuse(field, "a finite number", shown(value))
    if (value < 0) refuse(field, "a number from 0", `${value}`)
  }
  for (const field of ["beta1", "beta2"] as const) {
    if (adam[field] >= 1) refuse(field, "a number below 1", `${adam[field]}`)
  }
  return adam
}

/** A model that exists at the service, until the scope closes. Its first operation carries the number 1. */
export const make = (
  core: Core,
  modelId: string,
  baseModel: string | undefined
): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { telemetry, transport } = core
    const operations = yield* Operations.make(core, modelId, baseModel)
    const { end, name, single, turns } = operations
    const passes = Passes.make(operations)
    const weights = Weights.make(operations)
    let steps = 0

    const optimStep = (inTurn: Operations.InTurn): Client["optimStep"] => (params) =>
      Effect.flatMap(Effect.zipLeft(attempt(() => checkedAdam(params)), passes.warnOfGap), (adam) =>
        single(inTurn, {
          operation: `optim_step (model ${modelId})`,
          path: "optim_step",
          result: results.optimStep,
          body: (seqId) => Effect.sync(() => jsonBody(encodeOptimStep({ adamParams: adam, modelId, seqId }))),
          onResult: (_, durationMs) =>
            Effect.suspend(() => telemetry.emit({ _tag: "TrainingStep", modelId, step: ++steps, durationMs }))
        }))

    const unload = (inTurn: Operations.InTurn): Client["unload"] =>
      single(inTurn, {
        operation: `unload_model (model ${modelId})`,
        path: "unload_model",
        result: results.unload,
        numbered: false,
        body: () => Effect.sync(() => jsonBody({ model_id: modelId, type: "unload_model" }))
      }).pipe(
        Effect.tap(() => end(`${name}, which was unloaded,`)),
        Effect.map(Future.map(() => undefined))
      )

    const getInfo: Client["getInfo"] = Effect.suspend(() =>
      transport.json({
        operation: `get_info (model ${modelId})`,
        method: "POST",
        path: "get_info",
        pool: "service",
        body: jsonBody({ model_id: modelId, type: "get_info" })
      }, GetInfoResponse)
    )

    const tokenizer: Client["tokenizer"] = Effect.flatMap(getInfo, (info) =>
      Effect.tap(
        core.tokenizers.get({
          modelName: info.modelData.modelName ?? info.modelName ?? baseModel ?? "",
          tokenizerId: info.modelData.tokenizerId
        }),
        ({ vocabSize }) => passes.learnVocabulary(vocabSize)
      ))

    const fieldsOf = (inTurn: Operations.InTurn): Omit<Client, keyof typeof Proto> => {
      const saves = weights(inTurn)
      return {
        modelId,
        baseModel,
        check: (data, lossFn, config) => Effect.asVoid(passes.checked(data, lossFn, config)),
        forward: passes.run(inTurn, true),
        forwardBackward: passes.run(inTurn, false),
        // The operations inside take turns among themselves, in the one turn that all of them have
        inOneTurn: (use) => inTurn(Effect.flatMap(turns, (inner) => use(clientOf(inner)))),
        optimStep: optimStep(inTurn),
        ...saves,
        saveWeightsAndGetSamplingClient: Effect.flatten(saves.snapshot),
        getInfo,
        tokenizer,
        unload: unload(inTurn)
      }
    }
    const clientOf = (inTurn: Operations.InTurn): Client =>
      Methods.tellTo(
        Object.assign(Object.create(Proto), Methods.inSpans(fieldsOf(inTurn), transport.settings)),
        telemetry
      )
    return clientOf(yield* turns)
  })
