/** Passes over data: checked, split into requests, sent in one turn, and put together again. */
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import { compact } from "../../protocol/compact.js"
import type * as Datum from "../../protocol/Datum.js"
import * as ForwardBackwardCodec from "../../protocol/ForwardBackwardCodec.js"
import { OutputSchema } from "../../protocol/ForwardBackwardJson.js"
import { attempt, type InvalidInput } from "../../protocol/InvalidInput.js"
import { combine } from "../../protocol/MetricReduction.js"
import type { ForwardBackwardOutput, LossFn, LossFnConfig } from "../../protocol/Training.js"
import * as Zstd from "../../protocol/Zstd.js"
import { mayHaveArrived } from "../../TinkexError.js"
import * as Future from "../Future.js"
import * as Futures from "../future/future.js"
import * as Polling from "../future/polling.js"
import type { Client } from "../TrainingClient.js"
import type { Body } from "../transport/types.js"
import * as Chunks from "./chunks.js"
import type { InTurn, Operations } from "./operations.js"
import { validateData } from "./validateData.js"

const results = {
  forward: Polling.resultType("Forward", OutputSchema, ForwardBackwardCodec.decodeOutput),
  forwardBackward: Polling.resultType("ForwardBackward", OutputSchema, ForwardBackwardCodec.decodeOutput)
}

const protobuf = (bytes: Uint8Array): Body => ({ bytes, contentType: ForwardBackwardCodec.mediaType })

const compressed = (bytes: Uint8Array): Effect.Effect<Body> =>
  Effect.map(Zstd.compress(bytes), (frame) => ({ ...protobuf(frame), contentEncoding: "zstd" }))

export interface Passes {
  /** The requests that the data make, if they are sound. */
  readonly checked: (
    data: ReadonlyArray<Datum.Datum>,
    lossFn: LossFn,
    lossFnConfig: LossFnConfig | undefined
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<Datum.Datum>>, InvalidInput>
  readonly run: (inTurn: InTurn, forwardOnly: boolean) => Client["forward"]
  /** Once: a program that waits between gradients and update leaves the service idle in between. */
  readonly warnOfGap: Effect.Effect<void>
  /** From here on tokens are held to the size of the vocabulary. */
  readonly learnVocabulary: (size: number) => void
}

export const make = ({ core, modelId, name, send, usable }: Operations): Passes => {
  const { config, telemetry, transport } = core
  const limits = Chunks.limitsOf(core.limits, transport.settings.chunks)
  let vocabSize: number | undefined
  let lastPass: Future.Future<unknown> | undefined
  let warnedOfGap = false

  const checked: Passes["checked"] = (data, lossFn, lossFnConfig) =>
    attempt(() => {
      validateData(data, lossFn, lossFnConfig, { vocabSize, storedLosses: config.customLossServerSide })
      return Chunks.split(data, limits)
    })

  const report = (data: ReadonlyArray<Datum.Datum>, output: ForwardBackwardOutput) =>
    telemetry.emit({
      _tag: "TrainingPass",
      modelId,
      examples: data.length,
      ...compact({ loss: output.metrics["loss:sum"] }),
      ...sizeOf(data)
    })

  const run: Passes["run"] = (inTurn, forwardOnly) => {
    const operation = `${forwardOnly ? "forward" : "forward_backward"} (model ${modelId})`
    const one = (data: ReadonlyArray<Datum.Datum>, lossFn: LossFn, lossFnConfig: LossFnConfig | undefined) =>
      send({
        operation,
        path: "forward_backward",
        result: forwardOnly ? results.forward : results.forwardBackward,
        body: (seqId) =>
          Effect.flatMap(
            ForwardBackwardCodec.encodeRequest({ modelId, seqId, data, lossFn, lossFnConfig, forwardOnly }),
            (bytes) => config.protoCompressFwdbwd ? compressed(bytes) : Effect.succeed(protobuf(bytes))
          ),
        onResult: forwardOnly || !telemetry.enabled ? undefined : (output) => report(data, output)
      })
    return (data, lossFn, lossFnConfig) =>
      Effect.suspend(() => {
        // handed in before the update that follows it, even if it is not accepted yet
        if (!forwardOnly) lastPass = undefined
        return usable(operation)
      }).pipe(
        Effect.zipRight(checked(data, lossFn, lossFnConfig)),
        Effect.flatMap((chunks) =>
          inTurn(Effect.zipRight(
            usable(operation),
            Effect.forEach(
              chunks,
              (chunk, i) => Effect.mapError(one(chunk, lossFn, lossFnConfig), i === 0 ? identity : mayHaveArrived)
            )
          ))
        ),
        Effect.map((futures) => {
          const future = Future.map(Future.all(futures), combine)
          if (!forwardOnly) lastPass = future
          return future
        })
      )
  }

  const warnOfGap = Effect.suspend(() => {
    const gap = lastPass !== undefined && Futures.wasSeen(lastPass)
    lastPass = undefined
    if (!gap || warnedOfGap) return Effect.void
    warnedOfGap = true
    return Effect.logWarning(
      `${name}: optimStep was submitted after the result of forwardBackward had been awaited, so that the service waited for `
        + "the program; submit both, then await both (TrainingLoop.trainStep does)"
    )
  })

  return {
    checked,
    run,
    warnOfGap,
    learnVocabulary: (size) => {
      vocabSize = size
    }
  }
}

/** Tokens of the data, and the sum of their weights where all have some. */
const sizeOf = (data: ReadonlyArray<Datum.Datum>): { readonly tokens: number; readonly weight?: number } => {
  let tokens = 0
  let weight = 0
  for (const datum of data) {
    for (const chunk of datum.modelInput.chunks) if (chunk.type === "encoded_text") tokens += chunk.tokens.length
    const weights = datum.lossFnInputs["weights"]
    if (weights === undefined || weights.dtype !== "float32") weight = Number.NaN
    else for (let i = 0; i < weights.data.length; i++) weight += weights.data[i]!
  }
  return Number.isNaN(weight) ? { tokens } : { tokens, weight }
}
