/** Objects without their undefined fields. */

type Optional<A> = { [K in keyof A]-?: undefined extends A[K] ? K : never }[keyof A]

/** A field that may be undefined is one that may be absent. */
export type Compact<A> =
  & { [K in Exclude<keyof A, Optional<A>>]: A[K] }
  & { [K in Optional<A>]?: Exclude<A[K], undefined> }

/** Drops keys that are present with the value undefined: they would cover a default, and are no part of a message. */
export const compact = <A extends object>(record: A): Compact<A> => {
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(record)) if (value !== undefined) out[key] = value
  return out as Compact<A> // the same keys without the undefined ones
}
