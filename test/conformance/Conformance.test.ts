import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { RecordingEngine, TestServer } from "tinkex/testing"
import * as Conformance from "../../src/conformance/Conformance.js"
import { Engine } from "../../src/engine/Engine.js"
import * as InProcessEngine from "../../src/engine/host/InProcessEngine.js"
import { deep } from "../support/deep.js"
import { type Fault, faults } from "./faults.js"

const options = { baseUrl: TestServer.baseUrl }
/** A missing request is waited for this long; long enough that a poll is seen to be held. */
const server = { gapTimeout: "700 millis" } as const

const wrong = ({ engine = (same) => same, http = (same) => same }: Fault) =>
  Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, http)).pipe(
    Layer.provide(TestServer.layerWithoutEngine({ server })),
    Layer.provide(Layer.effect(Engine, Effect.map(Engine, engine))),
    Layer.provide(InProcessEngine.layer())
  )

describe("Conformance", () => {
  it.live("the embedded server passes every check and lacks nothing", () =>
    Effect.gen(function*() {
      for (let i = 0; i < (deep ? 20 : 1); i++) {
        const report = yield* Conformance.run(options)
        const odd = report.results.filter(({ verdict }) => verdict._tag !== "Passed")
        assert.deepStrictEqual(odd.map(({ id, verdict }) => [id, verdict]), [])
        assert.isTrue(Conformance.passed(report))
        assert.deepStrictEqual([...new Set(Object.values(report.features))], [true])
      }
    }).pipe(Effect.provide(TestServer.layerServer({ server }))), 1_200_000)

  for (const fault of faults) {
    it.live(`finds that ${fault.name}`, () =>
      Effect.gen(function*() {
        const report = yield* Conformance.run({ ...options, only: deep ? undefined : [fault.found] })
        const found = report.results.filter(({ verdict }) => verdict._tag === "Failed").map(({ id }) => id)
        assert.include(found, fault.found)
        assert.isFalse(Conformance.passed(report))
      }).pipe(Effect.provide(wrong(fault))))
  }

  it.live("gives back what it made: a server that holds one model is asked again and again", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 3; i++) {
        const report = yield* Conformance.run({ ...options, only: ["sessions/metadata"] })
        assert.deepStrictEqual(report.results.map(({ verdict }) => verdict), [{ _tag: "Passed" }])
      }
    }).pipe(Effect.provide(TestServer.layerServer({ server: { limits: { models: 1 } } }))))

  it.effect("refuses before anything is sent what would cost too much", () =>
    Effect.gen(function*() {
      const client = HttpClient.make(() => Effect.die("nothing is sent"))
      const error = yield* Effect.flip(
        Effect.provideService(Conformance.run({ ...options, budget: 10 }), HttpClient.HttpClient, client)
      )
      assert.strictEqual(error._tag, "TooExpensive")
      assert.include(error.message, "the budget is 10")
      const { sampled, trained } = Conformance.costOf(Conformance.checks)
      assert.isBelow(sampled + trained, 5000)
    }))

  it.live("a server that trains nothing fails in words, and lacks what it refuses", () =>
    Effect.gen(function*() {
      const report = yield* Conformance.run({
        ...options,
        only: ["losses/cross-entropy", "losses/dro", "optimizer/learns"]
      })
      assert.deepStrictEqual(report.results.map(({ verdict }) => verdict._tag), ["Passed", "Failed", "Failed"])
      const xml = Conformance.toJUnit(report)
      assert.include(xml, `tests="3" failures="2" errors="0" skipped="0"`)
      assert.include(xml, "expected a loss below")
    }).pipe(
      Effect.provide(TestServer.layerWithoutEngine({ server }).pipe(Layer.provide(RecordingEngine.layer())))
    ))

  it("ids are unique, and every check says where it stands", () => {
    const ids = Conformance.checks.map(({ id }) => id)
    assert.strictEqual(new Set(ids).size, ids.length)
    assert.isAtLeast(ids.length, 100)
    assert.isTrue(Conformance.checks.every(({ source, title }) => source !== "" && title !== ""))
  })
})
