/**
 * Creating, describing and unloading the models that are trained.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { JsonRecord, optional, required, typed } from "./internal/wire.js"
import { LoraConfig, OptimizerConfig } from "./Training.js"

/**
 * Body of `POST /create_model`; the result comes as a future. `modelSeqId` counts the models of a session from 0.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CreateModelRequest = typed("create_model", {
  sessionId: required(Schema.String, "session_id"),
  modelSeqId: required(Schema.Int, "model_seq_id"),
  baseModel: required(Schema.String, "base_model"),
  userMetadata: optional(JsonRecord, "user_metadata"),
  loraConfig: optional(LoraConfig, "lora_config"),
  optimizerConfig: optional(OptimizerConfig, "optimizer_config")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface CreateModelRequest extends Schema.Schema.Type<typeof CreateModelRequest> {}

/**
 * Result of `create_model`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CreateModelResponse = typed("create_model", { modelId: required(Schema.String, "model_id") })

/**
 * @since 0.1.0
 * @category models
 */
export interface CreateModelResponse extends Schema.Schema.Type<typeof CreateModelResponse> {}

/**
 * Body of `POST /get_info`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const GetInfoRequest = typed("get_info", { modelId: required(Schema.String, "model_id") })

/**
 * @since 0.1.0
 * @category models
 */
export interface GetInfoRequest extends Schema.Schema.Type<typeof GetInfoRequest> {}

/**
 * Answer of `POST /get_info`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const GetInfoResponse = typed("get_info", {
  modelId: required(Schema.String, "model_id"),
  modelData: required(
    Schema.Struct({
      arch: optional(Schema.String, "arch"),
      modelName: optional(Schema.String, "model_name"),
      tokenizerId: optional(Schema.String, "tokenizer_id")
    }),
    "model_data"
  ),
  isLora: optional(Schema.Boolean, "is_lora"),
  loraRank: optional(Schema.Int, "lora_rank"),
  modelName: optional(Schema.String, "model_name"),
  optimizerConfig: optional(OptimizerConfig, "optimizer_config")
})

/**
 * @since 0.1.0
 * @category models
 */
export interface GetInfoResponse extends Schema.Schema.Type<typeof GetInfoResponse> {}

/**
 * Body of `POST /unload_model`; the result comes as a future.
 *
 * @since 0.1.0
 * @category schemas
 */
export const UnloadModelRequest = typed("unload_model", { modelId: required(Schema.String, "model_id") })

/**
 * @since 0.1.0
 * @category models
 */
export interface UnloadModelRequest extends Schema.Schema.Type<typeof UnloadModelRequest> {}

/**
 * Result of `unload_model`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const UnloadModelResponse = typed("unload_model", { modelId: required(Schema.String, "model_id") })

/**
 * @since 0.1.0
 * @category models
 */
export interface UnloadModelResponse extends Schema.Schema.Type<typeof UnloadModelResponse> {}

/**
 * The id of a model as the service forms it: `<session>:train:<model_seq_id>` (docs/protocol/training.md#models).
 *
 * @since 0.1.0
 * @category constructors
 */
export const modelIdOf = (sessionId: string, modelSeqId: number): string => `${sessionId}:train:${modelSeqId}`
