/**
 * A limit that is kept: what would pass it is refused before it is sent.
 *
 * Everything is entered in a ledger before it is spent. The ledger of a run is a file in its directory to which any number of
 * processes append: each line stands where the file system puts it, and whether a claim holds follows from the lines before it,
 * so that all who read it agree, without locks.
 *
 * @since 0.2.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { InvalidInput, TypeId } from "../protocol/InvalidInput.js"
import { openLedger } from "./ledger.js"
import * as RunDirectory from "./RunDirectory.js"
import type { RunStorageError } from "./RunError.js"

/**
 * Most that may be spent: in USD, in tokens of all kinds, or both.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limit {
  readonly usd?: number | undefined
  readonly tokens?: number | undefined
}

/**
 * Something that is spent.
 *
 * @since 0.2.0
 * @category models
 */
export interface Amount {
  readonly usd: number
  readonly tokens: number
}

/**
 * The budget does not allow it. Nothing was sent.
 *
 * @since 0.2.0
 * @category errors
 */
export class BudgetExceeded extends Data.TaggedError("BudgetExceeded")<{
  readonly unit: "usd" | "tokens"
  readonly limit: number
  readonly spent: number
  readonly wanted: number
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    const show = (amount: number) => this.unit === "usd" ? `$${amount.toFixed(4)}` : `${amount} tokens`
    return `the budget of ${show(this.limit)} would be passed: ${show(this.spent)} are spent and ${
      show(this.wanted)
    } more`
      + " were wanted. Nothing of it was sent; raise the budget to go on from here"
  }
}

/**
 * A claim that was granted. What it turned out to be takes its place; until then it counts in full.
 *
 * @since 0.2.0
 * @category models
 */
export interface Claim {
  readonly settle: (actual: Amount) => Effect.Effect<void, RunStorageError>
}

/**
 * Where everything is entered before it is spent.
 *
 * @since 0.2.0
 * @category models
 */
export interface Ledger {
  readonly limit: Limit
  /** Enters a claim, or refuses it if it would pass the limit. */
  readonly claim: (amount: Amount) => Effect.Effect<Claim, BudgetExceeded | RunStorageError>
  /** What is spent and claimed, by all who share the ledger. */
  readonly spent: Effect.Effect<Amount, RunStorageError>
}

/**
 * The budget of whatever runs under it. A run keeps the ledger in its directory, and so counts what it spent before and what
 * other processes spend for it.
 *
 * @since 0.2.0
 * @category services
 */
export class Budget extends Context.Tag("tinkex/Budget")<Budget, Ledger>() {}

const checked = (limit: Limit): Effect.Effect<Limit, InvalidInput> => {
  for (const [unit, amount] of [["usd", limit.usd], ["tokens", limit.tokens]] as const) {
    if (amount !== undefined && !(amount >= 0 && Number.isFinite(amount))) {
      return new InvalidInput({ field: `budget.${unit}`, expected: "a number from 0", actual: String(amount) })
    }
  }
  return limit.usd === undefined && limit.tokens === undefined
    ? new InvalidInput({ field: "budget", expected: "a limit in usd, in tokens, or both", actual: "neither" })
    : Effect.succeed(limit)
}

/** The fold of a ledger: what is spent, and who may spend more. */
const refusal = (limit: Limit, spent: Amount, wanted: Amount): BudgetExceeded | undefined => {
  if (limit.tokens !== undefined && spent.tokens + wanted.tokens > limit.tokens) {
    return new BudgetExceeded({ unit: "tokens", limit: limit.tokens, spent: spent.tokens, wanted: wanted.tokens })
  }
  // sums of many small prices are not exact: a billionth of a dollar is no passing
  if (limit.usd !== undefined && spent.usd + wanted.usd > limit.usd + 1e-9) {
    return new BudgetExceeded({ unit: "usd", limit: limit.usd, spent: spent.usd, wanted: wanted.usd })
  }
  return undefined
}

/**
 * A ledger in memory, for one process.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (limit: Limit): Effect.Effect<Ledger, InvalidInput> =>
  Effect.map(checked(limit), (limit): Ledger => {
    let spent: Amount = { usd: 0, tokens: 0 }
    const change = (by: Amount, sign: 1 | -1) => {
      spent = { usd: spent.usd + sign * by.usd, tokens: spent.tokens + sign * by.tokens }
    }
    return {
      limit,
      spent: Effect.sync(() => spent),
      claim: (amount) =>
        Effect.suspend(() => {
          const refused = refusal(limit, spent, amount)
          if (refused !== undefined) return refused
          change(amount, 1)
          let open = true
          return Effect.succeed({
            settle: (actual: Amount) =>
              Effect.sync(() => {
                if (!open) return
                open = false
                change(amount, -1)
                change(actual, 1)
              })
          })
        })
    }
  })

/**
 * The ledger in the directory of a run, for processes that spend for it beside the one that trains: evaluations, samplers.
 *
 * @since 0.2.0
 * @category constructors
 */
export const makeIn = (
  directory: string,
  limit: Limit
): Effect.Effect<Ledger, InvalidInput | RunStorageError, FileSystem.FileSystem | Path.Path | Scope.Scope> =>
  Effect.gen(function*() {
    const path = yield* Path.Path
    return yield* openLedger(path.join(directory, RunDirectory.files.budget), yield* checked(limit), refusal)
  })

/**
 * A budget for what is provided with it.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (limit: Limit): Layer.Layer<Budget, InvalidInput> => Layer.effect(Budget, make(limit))

/**
 * The budget in the directory of a run.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerIn = (
  directory: string,
  limit: Limit
): Layer.Layer<Budget, InvalidInput | RunStorageError, FileSystem.FileSystem | Path.Path> =>
  Layer.scoped(Budget, makeIn(directory, limit))
