/**
 * Training requests and their results as JSON, for peers that know nothing of protobuf (docs/protocol/protobuf.md#json-for-older-peers).
 *
 * @since 0.1.0
 */
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type { Datum } from "./Datum.js"
import { defaulted, Float, optional, required, ResultFloat } from "./internal/wire.js"
import { ModelInputSchema } from "./ModelInput.js"
import { TensorDataSchema } from "./TensorData.js"
import type { ForwardBackwardRequest } from "./Training.js"

const Tensors = Schema.Record({ key: Schema.String, value: TensorDataSchema })

const DatumJson = Schema.Struct({
  modelInput: required(ModelInputSchema, "model_input"),
  lossFnInputs: defaulted(Tensors, "loss_fn_inputs", () => ({}))
})

const Input = Schema.Struct({
  data: Schema.Array(DatumJson),
  lossFn: required(Schema.String, "loss_fn"),
  lossFnConfig: optional(
    Schema.Record({ key: Schema.String, value: Schema.Union(Float, Schema.String) }),
    "loss_fn_config"
  )
})

const Wire = Schema.Struct({
  modelId: required(Schema.String, "model_id"),
  seqId: optional(Schema.Int, "seq_id"),
  forwardBackwardInput: optional(Input, "forward_backward_input"),
  forwardInput: optional(Input, "forward_input")
})

/**
 * The body of `POST /forward_backward` (`forward_backward_input`) and of `POST /forward` (`forward_input`), which is what
 * `forwardOnly` tells apart. A missing `seq_id` reads as 0. Provenance spans have no JSON form and are left out.
 *
 * @since 0.1.0
 * @category schemas
 */
export const RequestSchema: Schema.Schema<ForwardBackwardRequest, typeof Wire.Encoded> = Schema.transformOrFail(
  Wire,
  Schema.declare((u): u is ForwardBackwardRequest => typeof u === "object" && u !== null && "lossFn" in u, {
    identifier: "ForwardBackwardRequest"
  }),
  {
    strict: true,
    decode: (wire, _, ast) => {
      const input = wire.forwardBackwardInput ?? wire.forwardInput
      if (input === undefined) {
        return ParseResult.fail(
          new ParseResult.Type(ast, undefined, "Expected forward_backward_input or forward_input")
        )
      }
      return ParseResult.succeed({
        modelId: wire.modelId,
        seqId: wire.seqId ?? 0,
        data: input.data,
        lossFn: input.lossFn,
        ...(input.lossFnConfig === undefined ? {} : { lossFnConfig: input.lossFnConfig }),
        forwardOnly: wire.forwardBackwardInput === undefined
      })
    },
    encode: (request) => {
      const input = {
        data: request.data.map(({ lossFnInputs, modelInput }: Datum) => ({ modelInput, lossFnInputs })),
        lossFn: request.lossFn,
        ...(request.lossFnConfig === undefined ? {} : { lossFnConfig: request.lossFnConfig })
      }
      return ParseResult.succeed({
        modelId: request.modelId,
        ...(request.seqId === 0 ? {} : { seqId: request.seqId }),
        ...(request.forwardOnly ? { forwardInput: input } : { forwardBackwardInput: input })
      })
    }
  }
)

/**
 * The result of a pass in JSON: `{loss_fn_output_type, loss_fn_outputs, metrics}`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const OutputSchema = Schema.Struct({
  lossFnOutputType: required(Schema.String, "loss_fn_output_type"),
  lossFnOutputs: required(Schema.Array(Tensors), "loss_fn_outputs"),
  metrics: Schema.Record({ key: Schema.String, value: ResultFloat })
})
