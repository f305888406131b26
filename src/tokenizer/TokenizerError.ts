/**
 * The error of loading a tokenizer, or of tokens that it does not have.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"

/**
 * The mark of the error, the same in every copy of the package.
 *
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/TokenizerError")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * Why there is no tokenizer, or no text. `detail` says what to do next; texts, tokens and keys are in no message.
 *
 * - `NotFound`: no source has a tokenizer of this id.
 * - `Unauthorized`: the hub asks for a token, or refuses the one it got.
 * - `Unreachable`: the hub or the folder could not be read; trying again may help.
 * - `Malformed`: the files are there, but they do not describe a tokenizer that can be used.
 * - `UnknownToken`: the vocabulary lacks the token at `index`.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenizerError extends Data.TaggedError("TokenizerError")<{
  readonly reason: "NotFound" | "Unauthorized" | "Unreachable" | "Malformed" | "UnknownToken"
  /** The tokenizer that was asked for. */
  readonly id: string
  readonly detail: string
  /** Position of the token at fault, for `UnknownToken`. */
  readonly index?: number | undefined
  readonly cause?: unknown
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `tokenizer ${this.id}: ${this.detail}`
  }
}

/**
 * @since 0.1.0
 * @category guards
 */
export const isTokenizerError = (u: unknown): u is TokenizerError =>
  Predicate.isTagged(u, "TokenizerError") && TypeId in u
