/**
 * Results in the forms in which they travel.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { EngineError } from "../../engine/Engine.js"
import * as ForwardBackwardCodec from "../../protocol/ForwardBackwardCodec.js"
import * as SampleCodec from "../../protocol/SampleCodec.js"
import { type SampleResponse, SampleResponseSchema } from "../../protocol/Sampling.js"
import * as TensorData from "../../protocol/TensorData.js"
import type { ForwardBackwardOutput } from "../../protocol/Training.js"
import type { CheckpointError } from "../checkpoints/CheckpointError.js"
import type { Failure, Result } from "./Futures.js"

/** @internal */
export const json = <A, I>(schema: Schema.Schema<A, I>, value: A): Result => ({
  json: Effect.orDie(Schema.encode(schema)(value)),
  bytes: 256
})

const encodeTensor = Schema.encodeSync(TensorData.TensorDataSchema)

/** @internal */
export const output = (value: ForwardBackwardOutput): Result => ({
  json: Effect.sync(() => ({
    loss_fn_output_type: value.lossFnOutputType,
    loss_fn_outputs: value.lossFnOutputs.map((fields) =>
      Object.fromEntries(Object.entries(fields).map(([name, tensor]) => [name, encodeTensor(tensor)]))
    ),
    metrics: value.metrics
  })),
  protobuf: Effect.orDie(ForwardBackwardCodec.encodeOutput(value)),
  bytes: value.lossFnOutputs.reduce(
    (n, fields) => n + Object.values(fields).reduce((m, tensor) => m + TensorData.byteSize(tensor) + 64, 0),
    256
  )
})

const encodeSample = Schema.encode(SampleResponseSchema)

/** @internal */
export const sample = (value: SampleResponse): Result => ({
  json: Effect.orDie(encodeSample(value)),
  protobuf: Effect.sync(() => SampleCodec.encodeResponse(value)),
  bytes: value.sequences.reduce(
    (n, sequence) => n + 64 + 8 * sequence.tokens.length * (1 + (sequence.topkLogprobs?.k ?? 0)),
    256
  ) +
    4 * (value.promptLogprobs?.length ?? 0) + 8 * (value.topkPromptLogprobs?.tokens.length ?? 0)
})

/** @internal */
export const userFailure = (error: string): Failure => ({ error, category: "user" })

/** @internal */
export const engineFailure = (error: EngineError): Failure => ({
  error: error.message,
  category: error.reason === "InvalidInput" || error.reason === "UnknownModel" || error.reason === "LimitReached"
    ? "user"
    : "server"
})

/** @internal */
export const checkpointFailure = (error: CheckpointError): Failure => ({
  error: error.message,
  category: error.reason === "Storage" || error.reason === "Damaged" ? "server" : "user"
})

/** @internal */
export const failure = (error: EngineError | CheckpointError): Failure =>
  error._tag === "EngineError" ? engineFailure(error) : checkpointFailure(error)
