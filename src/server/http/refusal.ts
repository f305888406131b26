/**
 * The error answers of the server.
 *
 * @internal
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import { InvalidInput } from "../../protocol/InvalidInput.js"

/**
 * A request that is not done: what the peer gets as `{detail}` under `status`. Nothing was changed.
 *
 * @internal
 */
export class Refusal extends Data.TaggedError("Refusal")<{
  readonly status: number
  readonly detail: string
  readonly headers?: Readonly<Record<string, string>> | undefined
}> {
  override get message() {
    return this.detail
  }
}

/** @internal */
export const badRequest = (detail: string): Refusal => new Refusal({ status: 400, detail })

/** @internal */
export const forbidden = (detail: string): Refusal => new Refusal({ status: 403, detail })

/** @internal */
export const notFound = (detail: string): Refusal => new Refusal({ status: 404, detail })

/** @internal */
export const conflict = (detail: string): Refusal => new Refusal({ status: 409, detail })

/** @internal */
export const gone = (detail: string): Refusal => new Refusal({ status: 410, detail })

/** @internal */
export const tooLarge = (detail: string): Refusal => new Refusal({ status: 413, detail })

/** @internal */
export const tooMany = (detail: string, retryAfterSeconds: number): Refusal =>
  new Refusal({ status: 429, detail, headers: { "retry-after": String(retryAfterSeconds) } })

/** @internal */
export const notImplemented = (detail: string): Refusal => new Refusal({ status: 501, detail })

/**
 * Runs a check that throws `InvalidInput`.
 *
 * @internal
 */
export const attempt = <A>(check: () => A): Either.Either<A, Refusal> => {
  try {
    return Either.right(check())
  } catch (cause) {
    if (cause instanceof InvalidInput) return Either.left(badRequest(cause.message))
    throw cause
  }
}
