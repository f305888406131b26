import * as CB from "/work/main/src/resilience/CircuitBreaker.js"
import * as Effect from "effect/Effect"
const run = (name: string, body: Effect.Effect<unknown, unknown>, n: number) => Effect.gen(function*() {
  for (let r = 0; r < 5; r++) {
    const t = process.hrtime.bigint()
    let i = 0
    yield* Effect.whileLoop({ while: () => i < n, body: () => { i++; return body }, step: () => {} })
    const d = Number(process.hrtime.bigint() - t) / n / 1000
    if (r >= 3) console.log(name, d.toFixed(3), "us")
  }
})
const main = Effect.gen(function*() {
  const b = yield* CB.make("x")
  const rt = yield* CB.make("x", { rate: { calls: 100 } })
  const tw = yield* CB.make("x", { rate: { window: "10 seconds" } })
  const o = yield* CB.make("y")
  yield* o.isolate
  const work = Effect.succeed(1)
  yield* run("bare", work, 200000)
  yield* run("protect", CB.protect(work, b), 200000)
  yield* run("protect rate", CB.protect(work, rt), 200000)
  yield* run("protect time", CB.protect(work, tw), 200000)
  yield* run("reject", Effect.ignore(CB.protect(work, o)), 200000)
  console.log(yield* b.state, yield* tw.state, String(o), JSON.stringify(b))
})
Effect.runPromise(main)
