/**
 * What a check of the conformance suite is, and how it says what it expected and what came.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { Peer, Unreachable } from "./peer.js"

/**
 * What checks are about; also the order in which they run.
 *
 * @since 0.2.0
 * @category models
 */
export type Group =
  | "wire"
  | "sessions"
  | "order"
  | "losses"
  | "gradients"
  | "optimizer"
  | "checkpoints"
  | "sampling"
  | "stops"
  | "prompt"
  | "errors"
  | "polls"

/**
 * The server does something else than the protocol asks for.
 *
 * @since 0.2.0
 * @category errors
 */
export class Deviation extends Data.TaggedError("Deviation")<{
  readonly expected: string
  readonly got: string
}> {
  override get message(): string {
    return `expected ${this.expected}, got ${this.got}`
  }
}

/**
 * The server refuses what it need not offer. `feature` is the name under which a capability report has it.
 *
 * @since 0.2.0
 * @category errors
 */
export class Lacking extends Data.TaggedError("Lacking")<{
  readonly feature: string
  readonly detail: string
}> {
  override get message(): string {
    return `does not offer ${this.feature}: ${this.detail}`
  }
}

/**
 * One thing that a compatible server does.
 *
 * @since 0.2.0
 * @category models
 */
export interface Check {
  /** `group/name`, stable over versions. */
  readonly id: string
  readonly group: Group
  /** What is expected, in a sentence. */
  readonly title: string
  /** Where that is written: a page of `docs/protocol`, by its name and heading. */
  readonly source: string
  /** What the server may leave out; the check tells whether it does. */
  readonly feature: string | undefined
  /** At most so many tokens are trained on and sampled. */
  readonly cost: Cost
  readonly run: (peer: Peer) => Effect.Effect<void, Deviation | Lacking | Unreachable>
}

/**
 * Tokens.
 *
 * @since 0.2.0
 * @category models
 */
export interface Cost {
  readonly trained: number
  readonly sampled: number
}

interface Settings {
  readonly source: string
  readonly feature?: string | undefined
  readonly trained?: number | undefined
  readonly sampled?: number | undefined
}

/**
 * Builds the checks of a group.
 *
 * @since 0.2.0
 * @category constructors
 */
export const inGroup = (group: Group) =>
(
  name: string,
  title: string,
  settings: Settings,
  run: (peer: Peer) => Effect.Effect<void, Deviation | Lacking | Unreachable>
): Check => ({
  id: `${group}/${name}`,
  group,
  title,
  source: settings.source,
  feature: settings.feature,
  cost: { trained: settings.trained ?? 0, sampled: settings.sampled ?? 0 },
  run
})

/**
 * Fails unless the condition holds.
 *
 * @since 0.2.0
 * @category assertions
 */
export const that = (holds: boolean, expected: string, got: () => string): Effect.Effect<void, Deviation> =>
  holds ? Effect.void : Effect.fail(new Deviation({ expected, got: got() }))

/**
 * Fails unless two numbers agree within `tolerance`, relative to the larger of 1 and the expected one.
 *
 * @since 0.2.0
 * @category assertions
 */
export const close = (
  what: string,
  actual: number | undefined,
  expected: number,
  tolerance = 1e-4
): Effect.Effect<void, Deviation> =>
  that(
    actual !== undefined && Math.abs(actual - expected) <= tolerance * Math.max(1, Math.abs(expected)),
    `${what} to be ${show(expected)}`,
    () => actual === undefined ? "none" : show(actual)
  )

/**
 * Fails unless two lists of numbers agree one by one.
 *
 * @since 0.2.0
 * @category assertions
 */
export const allClose = (
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance = 1e-4
): Effect.Effect<void, Deviation> => {
  if (actual.length !== expected.length) {
    return that(false, `${what} to have ${expected.length} entries`, () => `${actual.length}`)
  }
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [actual[i]!, expected[i]!] // i is below both lengths
    if (Number.isNaN(a) && Number.isNaN(b)) continue
    if (!(Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)))) {
      return that(false, `entry ${i} of ${what} to be ${show(b)}`, () => show(a))
    }
  }
  return Effect.void
}

const show = (value: number): string => Number.isInteger(value) ? String(value) : value.toPrecision(6)
