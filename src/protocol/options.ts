/**
 * Options of the public API, checked for names that nobody reads: `max_tokens` where `maxTokens` is meant would be as good as not
 * given. TypeScript refuses such a name in an object that is written where it is passed; JavaScript, and an object that comes
 * from elsewhere, are refused here.
 */
import { InvalidInput } from "./InvalidInput.js"
import { kindOf } from "./numbers.js"

/** The names of an object, or of all members of a union of objects. */
type Names<A> = A extends unknown ? keyof A : never

/** Throws `InvalidInput` for a name that is none of the options'. */
export interface Known<A extends object> {
  (given: Partial<A> | undefined, field?: string): void
  readonly names: { readonly [K in Names<A>]-?: true }
  /** The options of this kind among others. */
  readonly pick: <O extends object>(given: O) => Pick<O, keyof O & Names<A>>
}

const bare = (name: string): string => name.replace(/[-_]/g, "").toLowerCase()

/** Whether one letter more, less or other makes the one from the other. */
const isNear = (a: string, b: string): boolean => {
  if (Math.abs(a.length - b.length) > 1) return false
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++
  return Math.max(a.length, b.length) - start - end <= 1
}

const meant = (name: string, names: ReadonlyArray<string>): string | undefined => {
  const given = bare(name)
  return names.find((one) => bare(one) === given) ??
    (given.length < 4 ? undefined : names.find((one) => isNear(bare(one), given)))
}

/** A name that a programmer can have written; anything else may be data in the wrong place. */
const shown = (name: string): string => /^[A-Za-z_$][\w$-]{0,39}$/.test(name) ? name : "a name"

const part = (field: string, name: string): string => field === "" ? name : `${field}.${name}`

/**
 * The check of one kind of options. The record has to have every name of the type, so that the two cannot drift apart; `what` is
 * what the options are of, for the message.
 */
export const known = <A extends object>(what: string, names: { readonly [K in Names<A>]-?: true }): Known<A> => {
  const all = Object.keys(names)
  const check = (given: unknown, field = ""): void => {
    if (given === undefined) return
    if (typeof given !== "object" || given === null || Array.isArray(given)) {
      throw new InvalidInput({ field, expected: `an object with the options of ${what}`, actual: kindOf(given) })
    }
    for (const name of Object.keys(given)) {
      if (Object.hasOwn(names, name)) continue
      const better = meant(name, all)
      throw new InvalidInput({
        field: part(field, shown(name)),
        expected: better === undefined ? `an option of ${what} (${all.join(", ")})` : `${better}`,
        actual: "an option of another name"
      })
    }
  }
  const pick = <O extends object>(given: O) =>
    // only names of the type are kept
    Object.fromEntries(Object.entries(given).filter(([name]) => Object.hasOwn(names, name))) as Pick<
      O,
      keyof O & Names<A>
    >
  return Object.assign(check, { names, pick })
}
