import { assert, describe, it } from "@effect/vitest"
import { Effect, HashMap, Layer } from "effect"
import { TestServer } from "tinkex/testing"
import * as Conformance from "../../src/conformance/Conformance.js"

const options = { baseUrl: TestServer.baseUrl }
const server = TestServer.layerServer()

describe("Conformance", () => {
  it.live("the embedded server passes every check and lacks nothing it knows", () =>
    Effect.gen(function*() {
      const report = yield* Conformance.run(options)
      const odd = report.results.filter(({ verdict }) => verdict._tag !== "Passed")
      assert.deepStrictEqual(odd.map(({ id, verdict }) => [id, verdict]), [])
      assert.isTrue(Conformance.passed(report))
      console.log(
        report.results.length,
        report.results.map((r) => [r.millis, r.id]).sort((a, b) => b[0] - a[0]).slice(0, 12)
      )
    }).pipe(Effect.provide(server)), 120_000)
})
