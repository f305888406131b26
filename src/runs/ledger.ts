/** A ledger in a file that several processes append to. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Amount, BudgetExceeded, Claim, Ledger, Limit } from "./Budget.js"
import { crc32c, hex } from "./crc32c.js"
import { RunStorageError } from "./RunError.js"

/**
 * A claim carries the limit under which it was made: whether it holds is the same for whoever reads it. A line that was torn is
 * none, and its writer never spent what it says.
 */
type Line =
  | { readonly claim: string; readonly usd: number; readonly tokens: number; readonly limit: Limit }
  | { readonly settle: string; readonly usd: number; readonly tokens: number }

const encoder = new TextEncoder()
const decoder = new TextDecoder()

// between newlines of its own: what a dead writer left unfinished spoils nothing that follows
const textOf = (line: Line): Uint8Array => {
  const text = JSON.stringify(line)
  return encoder.encode(`\n${hex(crc32c(encoder.encode(text)))} ${text}\n`)
}

const lineOf = (text: string): Line | undefined => {
  const body = text.slice(9)
  if (text.length < 10 || text.slice(0, 8) !== hex(crc32c(encoder.encode(body)))) return undefined
  return JSON.parse(body) as Line // as textOf wrote it
}

export const openLedger = (
  file: string,
  limit: Limit,
  refusal: (limit: Limit, spent: Amount, wanted: Amount) => BudgetExceeded | undefined
): Effect.Effect<Ledger, RunStorageError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const failing = Effect.mapError((cause: RunStorageError["cause"]) =>
      new RunStorageError({ doing: "write", file, cause })
    )
    const fs = yield* FileSystem.FileSystem
    const out = yield* failing(fs.open(file, { flag: "a" }))
    const back = yield* failing(fs.open(file, { flag: "r" }))
    const mutex = yield* Effect.makeSemaphore(1)
    // two processes with the same seed must not take each other's claims for their own
    const prefix = globalThis.crypto.getRandomValues(new Uint32Array(4)).join("-")
    let count = 0
    let spent: Amount = { usd: 0, tokens: 0 }
    const open = new Map<string, Amount>()
    /** What became of the claims of this ledger since it last looked. */
    const decided = new Map<string, BudgetExceeded | undefined>()
    let rest = ""
    const buffer = new Uint8Array(1 << 16)
    const take = (line: Line): void => {
      if ("claim" in line) {
        const refused = refusal(line.limit, spent, line)
        if (line.claim.startsWith(prefix)) decided.set(line.claim, refused)
        if (refused !== undefined) return
        open.set(line.claim, line)
        spent = { usd: spent.usd + line.usd, tokens: spent.tokens + line.tokens }
      } else {
        const claimed = open.get(line.settle)
        if (claimed === undefined) return
        open.delete(line.settle)
        spent = { usd: spent.usd + line.usd - claimed.usd, tokens: spent.tokens + line.tokens - claimed.tokens }
      }
    }
    /** Reads what was appended since the last time, by whomever. */
    const look = failing(Effect.gen(function*() {
      while (true) {
        const size = Number(yield* back.read(buffer))
        if (size === 0) return
        const texts = (rest + decoder.decode(buffer.subarray(0, size))).split("\n")
        rest = texts.pop() ?? ""
        for (const text of texts) {
          const line = lineOf(text)
          if (line !== undefined) take(line)
        }
      }
    }))
    const alone = <A, E>(use: Effect.Effect<A, E>) => mutex.withPermits(1)(Effect.uninterruptible(use))
    const append = (line: Line) => failing(Effect.zipRight(out.writeAll(textOf(line)), out.sync))
    const settle = (id: string): Claim["settle"] => (actual) =>
      alone(Effect.suspend(() => open.has(id) ? Effect.zipRight(append({ settle: id, ...actual }), look) : Effect.void))
    const ledger: Ledger = {
      limit,
      spent: alone(Effect.map(look, () => spent)),
      claim: (amount) =>
        alone(Effect.gen(function*() {
          const id = `${prefix}.${count++}`
          yield* append({ claim: id, usd: amount.usd, tokens: amount.tokens, limit })
          yield* look
          const refused = decided.get(id)
          decided.delete(id)
          if (refused !== undefined) return yield* refused
          return { settle: settle(id) }
        }))
    }
    return ledger
  })
