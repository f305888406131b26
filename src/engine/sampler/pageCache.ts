/**
 * The key-value cache of a model: pages that sequences share as long as they have the same tokens, counted by their
 * owners. Room is promised to a sequence before it starts, so that none is stopped half-way for want of a page.
 */
import * as Either from "effect/Either"
import type { EngineError } from "../Engine.js"
import type { Kernels } from "../kernels/kernels.js"
import { pageTokens, pageWords } from "../model/decoder.js"
import type { Model } from "../model/model.js"

/** Memory of an engine that pages may take, over all its samplers; in bytes. */
export interface CacheBudget {
  /** Promised to sequences. */
  promised: number
  /** Held by pages now; never more than promised. */
  held: number
  /** What may still be promised. */
  readonly available: () => number
}

export const makeCacheBudget = (kernels: Kernels, limit: number): CacheBudget => {
  const budget: CacheBudget = {
    promised: 0,
    held: 0,
    available: () => limit - (kernels.allocated() * 4 - budget.held) - budget.promised
  }
  return budget
}

/** The pages of one sequence, in order, and the address of the list of their addresses. */
export interface PageTable {
  readonly address: number
  readonly pages: Array<number>
}

export interface PageCache {
  /** Bytes of a page. */
  readonly pageBytes: number
  /** A table that begins with the pages of another one: whole ones shared, the last one copied if `tokens` part-fill it. */
  readonly open: (
    prefix?: { readonly table: PageTable; readonly tokens: number }
  ) => Either.Either<PageTable, EngineError>
  /** Sees to it that the table has pages for so many tokens. */
  readonly extend: (table: PageTable, tokens: number) => Either.Either<void, EngineError>
  readonly close: (table: PageTable) => void
}

export const makePageCache = (model: Model, budget: CacheBudget): PageCache => {
  const { config, kernels } = model
  const words = pageWords(config)
  const pageBytes = words * 4
  const tableWords = Math.ceil(config.maxContext / pageTokens)
  const owners = new Map<number, number>()

  const append = (table: PageTable, page: number): void => {
    kernels.ints(table.address, tableWords)[table.pages.length] = page
    table.pages.push(page)
    owners.set(page, (owners.get(page) ?? 0) + 1)
  }

  const close = (table: PageTable): void => {
    for (const page of table.pages) {
      const left = owners.get(page)! - 1
      if (left > 0) owners.set(page, left)
      else {
        owners.delete(page)
        kernels.release(page)
        budget.held -= pageBytes
      }
    }
    kernels.release(table.address)
  }

  const extend = (table: PageTable, tokens: number): Either.Either<void, EngineError> => {
    while (table.pages.length * pageTokens < tokens) {
      const page = kernels.allocate(words)
      if (Either.isLeft(page)) return Either.left(page.left)
      budget.held += pageBytes
      append(table, page.right)
    }
    return Either.void
  }

  return {
    pageBytes,
    open: (prefix) =>
      Either.flatMap(kernels.allocate(tableWords), (address) => {
        const table: PageTable = { address, pages: [] }
        if (prefix === undefined) return Either.right(table)
        const whole = Math.floor(prefix.tokens / pageTokens)
        for (let i = 0; i < whole; i++) append(table, prefix.table.pages[i]!)
        if (whole * pageTokens === prefix.tokens) return Either.right(table)
        const extended = extend(table, prefix.tokens)
        if (Either.isLeft(extended)) {
          close(table)
          return Either.left(extended.left)
        }
        kernels.floats(table.pages[whole]!, words).set(kernels.floats(prefix.table.pages[whole]!, words))
        return Either.right(table)
      }),
    extend,
    close
  }
}
