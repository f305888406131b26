/** Saving and loading of a model's weights. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { compact } from "../../protocol/compact.js"
import { attempt } from "../../protocol/InvalidInput.js"
import { shown } from "../../protocol/numbers.js"
import type { Known } from "../../protocol/options.js"
import { refuse } from "../../protocol/refuse.js"
import { parse as parsePath } from "../../protocol/TinkerPath.js"
import {
  LoadWeightsRequest,
  LoadWeightsResponse,
  SaveWeightsExternalRequest,
  SaveWeightsExternalResponse,
  SaveWeightsForSamplerRequest,
  SaveWeightsRequest,
  SaveWeightsResponse
} from "../../protocol/Weights.js"
import * as Future from "../Future.js"
import * as Polling from "../future/polling.js"
import * as Names from "../options.js"
import * as SamplingClient from "../sampling/samplingClient.js"
import type { Client, SaveOptions } from "../TrainingClient.js"
import { jsonBody } from "../transport/json.js"
import type { InTurn, Operations } from "./operations.js"

const results = {
  state: Polling.resultType("SaveWeights", SaveWeightsResponse),
  named: Polling.resultType("SaveWeightsForSampler", Schema.Struct({ path: Schema.String })),
  unnamed: Polling.resultType(
    "SaveWeightsForSampler",
    Schema.Struct({
      samplingSessionId: Schema.propertySignature(Schema.String).pipe(Schema.fromKey("sampling_session_id"))
    })
  ),
  external: Polling.resultType("SaveWeightsExternal", SaveWeightsExternalResponse),
  load: Polling.resultType("LoadWeights", LoadWeightsResponse)
}

const encodeSave = Schema.encodeSync(SaveWeightsRequest)
const encodeSaveForSampler = Schema.encodeSync(SaveWeightsForSamplerRequest)
const encodeSaveExternal = Schema.encodeSync(SaveWeightsExternalRequest)
const encodeLoad = Schema.encodeSync(LoadWeightsRequest)

const checkedName = (name: string): string =>
  typeof name === "string" && name.trim() !== "" && !name.includes("/")
    ? name
    : refuse(
      "name",
      "a name without slashes",
      typeof name === "string" && name.includes("/") ? "one with a slash" : "none"
    )

const secondsOf = (ttl: Duration.DurationInput): number => {
  const seconds = Duration.toSeconds(Option.getOrElse(Duration.decodeUnknown(ttl), () => Duration.zero))
  return Number.isSafeInteger(seconds) && seconds >= 1
    ? seconds
    : refuse("ttl", "a duration of whole seconds, from 1", shown(ttl))
}

/** Where a save goes, and how long it stays. */
const checkedSave = <O extends Pick<SaveOptions, "ttl">>(name: string, options: O | undefined, names: Known<O>) =>
  attempt(() => {
    const path = checkedName(name)
    names(options)
    return { path, ...(options?.ttl === undefined ? {} : { ttlSeconds: secondsOf(options.ttl) }) }
  })

type Methods = Pick<
  Client,
  "loadState" | "saveState" | "saveWeightsExternal" | "saveWeightsForSampler" | "snapshot"
>

export const make = ({ baseModel, core, modelId, single }: Operations) => (inTurn: InTurn): Methods => {
  const saveForSampler = <A>(
    result: Polling.ResultType<A>,
    fields: (seqId: number) => typeof SaveWeightsForSamplerRequest.Type,
    onUnsent?: () => void
  ) =>
    single(inTurn, {
      operation: `save_weights_for_sampler (model ${modelId})`,
      path: "save_weights_for_sampler",
      result,
      body: (seqId) => Effect.sync(() => jsonBody(encodeSaveForSampler({ ...fields(seqId), kind: "snapshot" }))),
      onUnsent
    })

  return {
    saveState: (name, options) =>
      Effect.flatMap(checkedSave(name, options, Names.saveState), (save) =>
        single(inTurn, {
          operation: `save_weights (model ${modelId}, ${save.path})`,
          path: "save_weights",
          result: results.state,
          body: (seqId) =>
            Effect.sync(() =>
              jsonBody(encodeSave({
                modelId,
                seqId,
                ...save,
                overwrite: options?.overwrite ?? false,
                ...compact({ userMetadata: options?.userMetadata })
              }))
            )
        })),
    saveWeightsForSampler: (name, options) =>
      Effect.flatMap(
        checkedSave(name, options, Names.saveWeightsForSampler),
        (save) =>
          saveForSampler(
            results.named,
            (seqId) => ({ modelId, seqId, ...save, ...compact({ userMetadata: options?.userMetadata }) })
          )
      ),
    saveWeightsExternal: (name, options) =>
      Effect.flatMap(checkedSave(name, options, Names.saveWeightsExternal), (save) =>
        single(inTurn, {
          operation: `save_weights_external (model ${modelId}, ${save.path})`,
          path: "save_weights_external",
          result: results.external,
          body: (seqId) =>
            Effect.sync(() =>
              jsonBody(encodeSaveExternal({
                modelId,
                seqId,
                ...save,
                ...compact({ ageEncryptionRecipients: options?.ageEncryptionRecipients })
              }))
            )
        })),
    loadState: (path, options) =>
      Effect.zipRight(
        Effect.tap(Effect.zipRight(attempt(() => Names.loadState(options)), parsePath(path)), () => {
          if (options?.weightsAccessToken !== undefined) core.transport.redact.learn(options.weightsAccessToken)
        }),
        single(inTurn, {
          operation: `load_weights (model ${modelId}, ${path})`,
          path: "load_weights",
          result: results.load,
          body: (seqId) =>
            Effect.sync(() =>
              jsonBody(encodeLoad({
                modelId,
                seqId,
                path,
                optimizer: options?.optimizer ?? false,
                ...compact({ weightsAccessToken: options?.weightsAccessToken })
              }))
            )
        })
      ),
    snapshot: Effect.gen(function*() {
      let samplingSeq: number | undefined
      const future = yield* saveForSampler(
        results.unnamed,
        (seqId) => ({ modelId, seqId, samplingSessionSeqId: samplingSeq ??= core.samplers.take() }),
        () => {
          if (samplingSeq !== undefined) core.samplers.giveBack(samplingSeq)
        }
      )
      return Effect.flatMap(
        Future.await(future),
        ({ samplingSessionId }) => SamplingClient.open(core, samplingSessionId, { baseModel })
      )
    })
  }
}
