/** Programs that spend: fibers that claim, wait a little, and say what it came to. */
import { Effect } from "effect"
import type * as Budget from "../../src/runs/Budget.js"

export interface Purchase {
  readonly claim: number
  /** What it came to, at most the claim; `null`: the program died before it said so. */
  readonly actual: number | null
  readonly pause: number
}

/** Gives what was really spent, as the service would count it. */
export const spendAll = (ledger: Budget.Ledger, fibers: ReadonlyArray<ReadonlyArray<Purchase>>) =>
  Effect.map(
    Effect.forEach(fibers, (purchases) =>
      Effect.gen(function*() {
        let spent = 0
        for (const { actual, claim, pause } of purchases) {
          const granted = yield* Effect.either(ledger.claim({ tokens: claim, usd: claim / 1000 }))
          if (granted._tag === "Left") continue
          spent += actual ?? claim
          yield* Effect.repeatN(Effect.yieldNow(), pause)
          if (actual !== null) yield* granted.right.settle({ tokens: actual, usd: actual / 1000 })
        }
        return spent
      }), { concurrency: "unbounded" }),
    (spent) => spent.reduce((a, b) => a + b, 0)
  )
