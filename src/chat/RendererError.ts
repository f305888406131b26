/**
 * The error of finding a renderer.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"

/**
 * The mark of the error, the same in every copy of the package.
 *
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/RendererError")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * Why there is no renderer.
 *
 * - `UnknownRenderer`: no renderer has this name.
 * - `UnknownModel`: no renderer is known for the model, and its tokenizer carries no chat template.
 * - `Tokenizer`: the tokenizer lacks control tokens of the format.
 * - `Template`: the chat template cannot be read, or nothing can be learnt or sampled by it.
 * - `Mismatch`: a checkpoint was trained with another renderer.
 *
 * @since 0.2.0
 * @category errors
 */
export class RendererError extends Data.TaggedError("RendererError")<{
  readonly reason: "UnknownRenderer" | "UnknownModel" | "Tokenizer" | "Template" | "Mismatch"
  /** The renderer or the model. */
  readonly name: string
  readonly detail: string
  readonly cause?: unknown
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `${this.reason === "UnknownModel" ? "model" : "renderer"} ${this.name}: ${this.detail}`
  }
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isRendererError = (u: unknown): u is RendererError => Predicate.isTagged(u, "RendererError") && TypeId in u
