/**
 * What a run uses and what that costs: tokens are counted before they are sent, prices are data.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import { table } from "./prices.js"

/**
 * Tokens by how they are charged.
 *
 * @since 0.2.0
 * @category models
 */
export interface Usage {
  readonly sampled: number
  readonly prefillCached: number
  readonly prefillUncached: number
  readonly trained: number
}

/**
 * @since 0.2.0
 * @category constants
 */
export const nothing: Usage = { sampled: 0, prefillCached: 0, prefillUncached: 0, trained: 0 }

/**
 * @since 0.2.0
 * @category combinators
 */
export const add = (a: Usage, b: Usage): Usage => ({
  sampled: a.sampled + b.sampled,
  prefillCached: a.prefillCached + b.prefillCached,
  prefillUncached: a.prefillUncached + b.prefillUncached,
  trained: a.trained + b.trained
})

/**
 * All tokens of a usage.
 *
 * @since 0.2.0
 * @category getters
 */
export const total = (usage: Usage): number =>
  usage.sampled + usage.prefillCached + usage.prefillUncached + usage.trained

/**
 * USD per million tokens.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rates {
  readonly prefill: number
  readonly cachedPrefill: number
  readonly sample: number
  readonly train: number
}

/**
 * Prices of models by their full id, when they were read and where. A model whose price of one kind is not known has none of
 * that kind.
 *
 * @since 0.2.0
 * @category models
 */
export interface PriceTable {
  /** `YYYY-MM-DD` */
  readonly asOf: string
  readonly source: string
  readonly models: Readonly<Record<string, Partial<Rates>>>
}

/**
 * The prices that runs count with. Those that come with the package are of the date that they carry: provide your own when they
 * have changed.
 *
 * @since 0.2.0
 * @category services
 */
export class Prices extends Context.Reference<Prices>()("tinkex/Prices", { defaultValue: (): PriceTable => table }) {}

/** Models of the embedded server: `tinkex/nano` and its like. */
const isEmbedded = (model: string): boolean => model.startsWith("tinkex/")

const free: Rates = { prefill: 0, cachedPrefill: 0, sample: 0, train: 0 }

/**
 * The rates of a model, if all four are known: a figure of a part would be taken for the whole. Models of the embedded server
 * cost nothing.
 *
 * @since 0.2.0
 * @category getters
 */
export const ratesOf = (prices: PriceTable, model: string): Rates | undefined => {
  if (isEmbedded(model)) return free
  const found = prices.models[model]
  if (found === undefined) return undefined
  const { cachedPrefill, prefill, sample, train } = found
  return prefill === undefined || cachedPrefill === undefined || sample === undefined || train === undefined
    ? undefined
    : { prefill, cachedPrefill, sample, train }
}

/**
 * `(prefillUncached * prefill + prefillCached * cachedPrefill + sampled * sample + trained * train) / 1e6`, in USD.
 *
 * @since 0.2.0
 * @category getters
 */
export const usd = (rates: Rates, usage: Usage): number =>
  (usage.prefillUncached * rates.prefill + usage.prefillCached * rates.cachedPrefill + usage.sampled * rates.sample
    + usage.trained * rates.train) / 1e6

/**
 * What a run will use.
 *
 * @since 0.2.0
 * @category models
 */
export interface Estimate {
  readonly model: string
  readonly steps: number
  readonly usage: Usage
  /** `undefined`: the price is not known. 0 for the embedded server. */
  readonly usd: number | undefined
  /** Where the price comes from, and its date. */
  readonly note: string
}

/**
 * What is known of the price of a model, in words.
 *
 * @since 0.2.0
 * @category getters
 */
export const noteOf = (prices: PriceTable, model: string): string =>
  isEmbedded(model)
    ? "the embedded server costs nothing"
    : ratesOf(prices, model) === undefined
    ? `no complete price of ${model} as of ${prices.asOf} (${prices.source}); provide Prices to count in USD`
    : `prices as of ${prices.asOf}, ${prices.source}`

/**
 * Figures of a usage under the cookbook's names: `tokens/sampled` and so on, `cost/step_usd`, and what the run has used in all.
 *
 * @since 0.2.0
 * @category getters
 */
export const metrics = (
  rates: Rates | undefined,
  step: Usage,
  cumulative: Usage
): Readonly<Record<string, number>> => ({
  ...named("tokens", step),
  ...named("tokens/cumulative", cumulative),
  ...(rates === undefined ? {} : { "cost/step_usd": usd(rates, step), "cost/cumulative_usd": usd(rates, cumulative) })
})

const named = (prefix: string, usage: Usage): Readonly<Record<string, number>> => ({
  [`${prefix}/sampled`]: usage.sampled,
  [`${prefix}/prefill_cached`]: usage.prefillCached,
  [`${prefix}/prefill_uncached`]: usage.prefillUncached,
  [`${prefix}/trained`]: usage.trained
})
