/**
 * What a server answers when it does not do what was asked: a status and `{"detail": ...}`.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as Data from "effect/Data"
import * as Schema from "effect/Schema"
import { ErrorBody } from "./Service.js"

/**
 * Every error status that the protocol gives a meaning (docs/protocol/transport.md#errors).
 *
 * @since 0.1.0
 * @category constants
 */
export const statuses = [400, 401, 402, 403, 404, 408, 409, 410, 413, 415, 422, 425, 429, 500, 501, 503, 504] as const

/**
 * @since 0.1.0
 * @category models
 */
export type Status = (typeof statuses)[number]

/**
 * A refusal of a server. `detail` is for the person who reads it: it names the field and what would be right, and holds
 * no key, prompt or tensor.
 *
 * @since 0.1.0
 * @category errors
 */
export class ApiError extends Data.TaggedError("ApiError")<{ readonly status: Status; readonly detail: string }> {
  override get message(): string {
    return `${this.status}: ${this.detail}`
  }
}

const ofStatus = (status: Status): Schema.Schema<ApiError, ErrorBody> =>
  Schema.transform(
    ErrorBody,
    Schema.declare((u): u is ApiError => u instanceof ApiError && u.status === status, {
      identifier: `ApiError${status}`
    }),
    {
      strict: true,
      decode: ({ detail }) =>
        new ApiError({ status, detail: typeof detail === "string" ? detail : JSON.stringify(detail) }),
      encode: ({ detail }) => ({ detail })
    }
  ).annotations(HttpApiSchema.annotations({ status, identifier: `Error${status}` }))

/**
 * `ApiError` on the wire: the status line and `{"detail": ...}`, one member per status.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ApiErrorSchema: Schema.Schema<ApiError, ErrorBody> = Schema.Union(...statuses.map(ofStatus))
