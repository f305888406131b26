import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, type Scope } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Budget from "../../src/runs/Budget.js"
import * as Cost from "../../src/runs/Cost.js"
import { type Purchase, spendAll } from "./spending.js"

const deep = process.env["TINKEX_DEEP"] === "1"

const purchase: fc.Arbitrary<Purchase> = fc.integer({ min: 0, max: 60 }).chain((claim) =>
  fc.record({
    claim: fc.constant(claim),
    actual: fc.option(fc.integer({ min: 0, max: claim }), { freq: 8 }),
    pause: fc.integer({ min: 0, max: 3 })
  })
)
const program = fc.array(fc.array(purchase, { maxLength: 4 }), { maxLength: 4 })
const limit = fc.integer({ min: 0, max: 300 })

const inDirectory = <A, E>(use: (directory: string) => Effect.Effect<A, E, NodeContext.NodeContext | Scope.Scope>) =>
  Effect.scoped(Effect.flatMap(FileSystem.FileSystem, (fs) => Effect.flatMap(fs.makeTempDirectoryScoped(), use)))

describe("Budget", () => {
  it("random programs of several fibers never pass it; what is left can be spent", async () => {
    await fc.assert(
      fc.asyncProperty(program, limit, async (program, tokens) => {
        const ledger = await Effect.runPromise(Budget.make({ tokens, usd: tokens / 1000 }))
        const spent = await Effect.runPromise(spendAll(ledger, program))
        assert.isAtMost(spent, tokens)
        const entered = await Effect.runPromise(ledger.spent)
        assert.strictEqual(entered.tokens, spent)
        await Effect.runPromise(ledger.claim({ tokens: tokens - spent, usd: 0 }))
        const error = await Effect.runPromise(Effect.flip(ledger.claim({ tokens: 1, usd: 0 })))
        assert.include(error.message, `the budget of ${tokens} tokens would be passed`)
      }),
      { numRuns: deep ? 1000 : 200, seed: 1 }
    )
  })

  it(
    "random programs of several fibers in two processes never pass it together",
    async () => {
      const child = spawn(process.execPath, [
        "--import",
        "tsx",
        fileURLToPath(new URL("budgetProcess.ts", import.meta.url))
      ], {
        stdio: ["pipe", "pipe", "inherit"]
      })
      const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      try {
        await fc.assert(
          fc.asyncProperty(program, program, limit, (here, there, tokens) =>
            Effect.runPromise(
              inDirectory((directory) =>
                Effect.gen(function*() {
                  const limit = { tokens, usd: tokens / 1000 }
                  child.stdin.write(`${JSON.stringify({ directory, limit, program: there })}\n`)
                  const ledger = yield* Budget.makeIn(directory, limit)
                  const mine = yield* spendAll(ledger, here)
                  const { value } = yield* Effect.promise(() => answers.next())
                  const theirs = (JSON.parse(value as string) as { readonly spent: number }).spent
                  assert.isAtMost(mine + theirs, tokens)
                  // both read the same ledger
                  assert.strictEqual((yield* ledger.spent).tokens, mine + theirs)
                })
              ).pipe(Effect.provide(NodeContext.layer))
            )),
          { numRuns: deep ? 1000 : 100, seed: 2 }
        )
      } finally {
        child.stdin.end()
        await once(child, "close")
      }
    },
    300_000
  )

  it.live("a line that a dead writer left unfinished spoils nothing", () =>
    inDirectory((directory) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const file = `${directory}/budget.jsonl`
        yield* Effect.scoped(
          Effect.flatMap(Budget.makeIn(directory, { tokens: 10 }), (ledger) => ledger.claim({ tokens: 4, usd: 0 }))
        )
        const whole = yield* fs.readFile(file)
        for (let length = 0; length < whole.length - 1; length++) {
          yield* fs.writeFile(file, whole.subarray(0, length))
          yield* Effect.scoped(Effect.gen(function*() {
            const ledger = yield* Budget.makeIn(directory, { tokens: 10 })
            yield* ledger.claim({ tokens: 7, usd: 0 })
            assert.strictEqual((yield* ledger.spent).tokens, 7, `cut at ${length}`)
          }))
        }
      })
    ).pipe(Effect.provide(NodeContext.layer)))

  it.effect("a limit that is none is refused", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(Budget.make({}))).field, "budget")
      assert.strictEqual((yield* Effect.flip(Budget.make({ usd: -1 }))).field, "budget.usd")
      assert.strictEqual((yield* Effect.flip(Budget.make({ tokens: Number.NaN }))).field, "budget.tokens")
    }))
})

describe("Cost", () => {
  const usage = { sampled: 1e6, prefillCached: 2e6, prefillUncached: 3e6, trained: 4e6 }

  it("adds up what each kind of token costs", () => {
    const rates = { prefill: 1, cachedPrefill: 0.2, sample: 3, train: 4 }
    assert.closeTo(Cost.usd(rates, usage), 3 + 0.4 + 3 + 16, 1e-12)
    const metrics = Cost.metrics(rates, usage, Cost.add(usage, usage))
    assert.closeTo(metrics["cost/step_usd"]!, 22.4, 1e-12)
    assert.closeTo(metrics["cost/cumulative_usd"]!, 44.8, 1e-12)
    assert.deepStrictEqual(
      [metrics["tokens/sampled"], metrics["tokens/prefill_cached"], metrics["tokens/prefill_uncached"]],
      [1e6, 2e6, 3e6]
    )
    assert.strictEqual(metrics["tokens/cumulative/trained"], 8e6)
  })

  it.effect("prices are data with a date and a source; a model without all four has none; the embedded server costs nothing", () =>
    Effect.gen(function*() {
      const prices = yield* Cost.Prices
      assert.match(prices.asOf, /^\d{4}-\d\d-\d\d$/)
      assert.match(prices.source, /^https:/)
      assert.closeTo(Cost.usd(Cost.ratesOf(prices, "Qwen/Qwen3-8B")!, { ...Cost.nothing, trained: 1e6 }), 0.44, 1e-12)
      assert.isUndefined(Cost.ratesOf(prices, "openai/gpt-oss-20b"))
      assert.include(Cost.noteOf(prices, "openai/gpt-oss-20b"), prices.asOf)
      assert.strictEqual(Cost.usd(Cost.ratesOf(prices, "tinkex/nano")!, usage), 0)
      assert.strictEqual(Cost.noteOf(prices, "tinkex/nano"), "the embedded server costs nothing")
      const own = {
        asOf: "2027-01-01",
        source: "mine",
        models: { m: { prefill: 1, cachedPrefill: 1, sample: 1, train: 1 } }
      }
      const given = yield* Effect.provideService(Cost.Prices, Cost.Prices, own)
      assert.strictEqual(given.asOf, "2027-01-01")
    }))
})
