/**
 * The mark that every public error of the package carries.
 *
 * @internal
 */
export const TypeId: unique symbol = Symbol.for("tinkex/TinkexError") as never // unique symbols cannot be declared from Symbol.for with a narrower type

/** @internal */
export type TypeId = typeof TypeId
