import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as TestClock from "effect/TestClock"
import * as RetryBudget from "../../src/resilience/RetryBudget.js"
import * as RetryPolicy from "../../src/resilience/RetryPolicy.js"
import { collect, withQuickClock } from "./support.js"

const granted = (budget: RetryBudget.RetryBudget, tries: number) =>
  Effect.map(
    Effect.all(Array.from({ length: tries }, () => Effect.either(budget.withdraw))),
    (results) => results.filter(Either.isRight).length
  )

describe("RetryBudget", () => {
  it.effect("grants a fifth of the calls and ten a second, for ten seconds", () =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make("defaults")
      assert.strictEqual(yield* budget.balance, 100)
      yield* Effect.repeatN(budget.deposit, 49)
      assert.strictEqual(yield* budget.balance, 110)
      assert.strictEqual(yield* granted(budget, 200), 110)
      assert.strictEqual(yield* budget.balance, 0)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(yield* granted(budget, 200), 0)
      yield* TestClock.adjust("1 second")
      // The retries are forgotten, and so are the calls.
      assert.strictEqual(yield* granted(budget, 200), 100)
    }))

  it.effect("without a minimum, retries come from calls alone, and fifths add up exactly", () =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make("share", { percent: 0.1, minPerSecond: 0 })
      assert.strictEqual(yield* granted(budget, 5), 0)
      yield* Effect.repeatN(budget.deposit, 8)
      assert.strictEqual(yield* granted(budget, 5), 0)
      yield* budget.deposit
      assert.strictEqual(yield* granted(budget, 5), 1)
    }))

  it.effect("an exhausted budget says so, and spends nothing", () =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make("empty", { percent: 0, minPerSecond: 0 })
      let calls = 0
      const error = yield* Effect.flip(RetryBudget.spend(Effect.sync(() => calls++), budget))
      assert.isTrue(RetryBudget.isBudgetExhausted(error))
      assert.isFalse(RetryBudget.isBudgetExhausted("empty"))
      assert.match(error.message, /retry budget of "empty" is used up/)
      assert.strictEqual(calls, 0)
      const rich = yield* RetryBudget.make("rich")
      assert.strictEqual(yield* Effect.succeed(5).pipe(RetryBudget.spend(rich)), 5)
      assert.strictEqual(yield* rich.balance, 99)
    }))

  it.effect("tells observers when it is exhausted and when it recovers", () =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.forKey("told")
      const { changes } = yield* RetryBudget.RetryBudgets
      const story = Effect.gen(function*() {
        yield* granted(budget, 4)
        yield* TestClock.adjust("10 seconds")
        yield* granted(budget, 1)
      })
      const seen = yield* collect(budget.changes, story)
      assert.deepStrictEqual(seen, [
        { _tag: "Exhausted", key: "told", refused: 1 },
        { _tag: "Recovered", key: "told", refused: 3 }
      ])
      const other = yield* RetryBudget.forKey("other")
      const both = yield* collect(changes, Effect.zipRight(granted(other, 2), granted(budget, 2)))
      assert.deepStrictEqual(both.map(({ key }) => key), ["other", "told"])
    }).pipe(Effect.provide(RetryBudget.layer({ percent: 0, minPerSecond: 0.1 }))))

  it.effect("one budget per key, also for many who ask at once", () =>
    Effect.gen(function*() {
      const budgets = yield* Effect.all(
        Array.from({ length: 20 }, () => Effect.zipRight(Effect.yieldNow(), RetryBudget.forKey("shared"))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(budgets).size, 1)
      const registry = yield* RetryBudget.RetryBudgets
      assert.strictEqual((yield* registry.all).length, 1)
    }).pipe(Effect.provide(RetryBudget.layer())))

  it.effect("not enabled, every retry is granted", () =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make("off", { enabled: false, percent: 0, minPerSecond: 0 })
      yield* budget.deposit
      assert.strictEqual(yield* granted(budget, 1000), 1000)
      assert.strictEqual(yield* budget.balance, Number.POSITIVE_INFINITY)
    }))

  it.effect("options that cannot be used are named, also from Config", () =>
    Effect.gen(function*() {
      const bad: ReadonlyArray<readonly [string, RetryBudget.Options]> = [
        ["percent", { percent: -0.1 }],
        ["minPerSecond", { minPerSecond: Number.POSITIVE_INFINITY }],
        ["ttl", { ttl: 0 }]
      ]
      for (const [field, options] of bad) {
        assert.strictEqual((yield* Effect.flip(RetryBudget.make("bad", options))).field, field)
      }
      const layer = RetryBudget.layerConfig({ percent: Config.number("PERCENT") })
      const provide = (percent: string) =>
        Layer.provide(layer, Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["PERCENT", percent]]))))
      const budget = yield* Effect.provide(RetryBudget.forKey("configured"), provide("1"))
      yield* budget.deposit
      assert.strictEqual(yield* budget.balance, 101)
      assert.strictEqual((yield* Effect.flip(Layer.build(provide("-1"))))._tag, "InvalidOptions")
    }).pipe(Effect.scoped))

  it.effect("is a handle: pipe, inspection, guards", () =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make("handle")
      assert.isTrue(RetryBudget.isRetryBudget(budget))
      assert.isFalse(RetryBudget.isRetryBudget(0))
      assert.strictEqual(budget.pipe((self) => self.key), "handle")
      assert.deepStrictEqual(JSON.parse(JSON.stringify(budget)), {
        _id: "tinkex/RetryBudget",
        key: "handle",
        enabled: true
      })
    }))

  for (const perSecond of [1, 50, 400]) {
    it.effect(
      `without a breaker, ${perSecond} calls a second that all fail load the server with 1.2 times that, plus the minimum`,
      () =>
        withQuickClock(
          Effect.gen(function*() {
            const budget = yield* RetryBudget.make("storm")
            const policy = yield* RetryPolicy.make("storm")
            const seconds = 60
            let attempts = 0
            const call = RetryPolicy.retry(
              Effect.suspend(() => {
                attempts++
                return Effect.fail("down")
              }),
              policy,
              { budget }
            )
            for (let i = 0; i < seconds * 10; i++) {
              for (let j = 0; j < perSecond; j += 10) {
                if (perSecond >= 10 || i % 10 === 0) yield* Effect.fork(Effect.ignore(call))
              }
              yield* TestClock.adjust("100 millis")
            }
            const offered = seconds * perSecond
            // Ten retries a second over 60 seconds, in windows of ten: one window more than fits.
            assert.isAtMost(attempts, 1.2 * offered + 10 * (seconds + 10))
            // The guard is not bought by refusing retries that it should grant.
            assert.isAtLeast(attempts, Math.min(1.15 * offered + 10 * (seconds - 10), 5 * offered))
          }),
          4
        ).pipe(Effect.withRandom(Random.make("storm")))
    )
  }
})
