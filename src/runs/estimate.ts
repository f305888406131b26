/** What a training will use, counted from its data without sending anything. */
import * as Effect from "effect/Effect"
import { InvalidInput } from "../protocol/InvalidInput.js"
import { factsOf } from "./batchFacts.js"
import * as Cost from "./Cost.js"
import { charged } from "./rounds.js"
import type { Plan } from "./trainPlan.js"

/** As many batches are counted; of more, these all over the training stand for the rest. */
const counted = 1000

export const estimate = <E, R>(
  plan: Plan<E, R>,
  options: { readonly model: string; readonly seed: number; readonly prices: Cost.PriceTable }
): Effect.Effect<Cost.Estimate, E | InvalidInput, R> =>
  Effect.gen(function*() {
    const { source, total } = plan
    const { model, prices } = options
    let usage = Cost.nothing
    if (source._tag === "Dataset") {
      const steps = Math.min(counted, total)
      let trained = 0
      for (let i = 0; i < steps; i++) {
        trained += factsOf(yield* source.dataset.batch(Math.floor((i * total) / steps), options.seed)).tokens
      }
      usage = { ...usage, trained: Math.round((trained * total) / steps) }
    } else if (source._tag === "Rollouts" && source.rollouts.most !== undefined) {
      const most = charged(source.rollouts.most)
      const rounds = Math.ceil(total / source.rollouts.updates)
      // what is sampled and what it was sampled after is trained on
      usage = {
        sampled: rounds * most.sampled,
        prefillCached: rounds * most.prefillCached,
        prefillUncached: rounds * most.prefillUncached,
        trained: rounds * (most.sampled + most.prefillCached + most.prefillUncached)
      }
    } else {
      return yield* new InvalidInput({
        field: "batches",
        expected: "a Dataset, or Rollouts that say the most they use",
        actual: "batches that are not known before they are made"
      })
    }
    const rates = Cost.ratesOf(prices, model)
    return {
      model,
      steps: total,
      usage,
      usd: rates === undefined ? undefined : Cost.usd(rates, usage),
      note: Cost.noteOf(prices, model)
    }
  })
