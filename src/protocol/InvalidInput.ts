/**
 * The error of data that was refused before anything was sent or changed.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/**
 * The mark that every public error of the package carries. `Symbol.for`, so that two copies of the package know each
 * other's errors.
 *
 * @since 0.1.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/TinkexError")

/**
 * @since 0.1.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * Data from the caller (or, on a server, from the client) that cannot be used. Nothing was sent or changed.
 * It names the field, the index where there is one, and what would be right; it never holds the value itself
 * when that could be a prompt, a tensor or a key.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidInput extends Data.TaggedError("InvalidInput")<{
  /** Dotted path of what was refused, for example `data[3].lossFnInputs.weights`. */
  readonly field: string
  /** Position in a list of numbers, when one element is at fault. */
  readonly index?: number | undefined
  /** What would have been accepted. */
  readonly expected: string
  /** What came instead: a type, a length, a shape, never contents. */
  readonly actual: string
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    const where = this.index === undefined ? this.field : `${this.field}[${this.index}]`
    return `${where === "" ? "" : `${where}: `}expected ${this.expected}, got ${this.actual}`
  }
  /** The same error, seen from the structure that holds the field. */
  within(prefix: string): InvalidInput {
    return new InvalidInput({
      field: this.field === "" ? prefix : `${prefix}.${this.field}`,
      index: this.index,
      expected: this.expected,
      actual: this.actual
    })
  }
  override toJSON(): object {
    return {
      _tag: this._tag,
      field: this.field,
      ...(this.index === undefined ? {} : { index: this.index }),
      expected: this.expected,
      actual: this.actual
    }
  }
}

/**
 * Runs a constructor that throws `InvalidInput` (`Datum.fromCompletion`, `TensorData.make` and so on) with the refusal
 * in the error channel. Anything else that is thrown stays a defect.
 *
 * @since 0.1.0
 * @category constructors
 */
export const attempt = <A>(evaluate: () => A): Effect.Effect<A, InvalidInput> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(evaluate())
    } catch (cause) {
      return cause instanceof InvalidInput ? Effect.fail(cause) : Effect.die(cause)
    }
  })
