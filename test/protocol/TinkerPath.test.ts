import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as Routes from "../../src/protocol/Routes.js"
import * as TinkerPath from "../../src/protocol/TinkerPath.js"

const part = fc.string({ minLength: 1, unit: "grapheme" }).filter((text) => !text.includes("/"))
const path: fc.Arbitrary<TinkerPath.TinkerPath> = fc.record({
  trainingRunId: part,
  kind: fc.constantFrom("weights" as const, "sampler_weights" as const, "external_weights" as const),
  name: part
})

describe("paths", () => {
  it.effect("are read in their three parts", () =>
    Effect.gen(function*() {
      const read = yield* TinkerPath.parse("tinker://b89f6676:train:0/sampler_weights/final")
      assert.deepStrictEqual(read, { trainingRunId: "b89f6676:train:0", kind: "sampler_weights", name: "final" })
      assert.strictEqual(TinkerPath.checkpointId(read), "sampler_weights/final")
      assert.strictEqual(TinkerPath.checkpointType(read), "sampler")
      assert.strictEqual(TinkerPath.checkpointType({ ...read, kind: "weights" }), "training")
      assert.strictEqual(TinkerPath.checkpointType({ ...read, kind: "external_weights" }), "external")
    }))

  it("read back what they are written as, by path and by checkpoint id", () => {
    fc.assert(fc.property(path, (value) => {
      assert.deepStrictEqual(TinkerPath.unsafeParse(TinkerPath.format(value)), value)
      assert.deepStrictEqual(
        TinkerPath.unsafeFromCheckpointId(value.trainingRunId, TinkerPath.checkpointId(value)),
        value
      )
    }))
  })

  it.effect("of any other form are refused, naming the field and the form", () =>
    Effect.gen(function*() {
      const cases: ReadonlyArray<readonly [string, string]> = [
        ["", "text that does not start with tinker://"],
        ["http://run/weights/a", "text that does not start with tinker://"],
        ["tinker://run/weights", "2 parts"],
        ["tinker://run/weights/a/b", "4 parts"],
        ["tinker://run/other/a", "another kind"],
        ["tinker://run/constructor/a", "another kind"],
        ["tinker:///weights/a", "an empty part"],
        ["tinker://run/weights/", "an empty part"]
      ]
      for (const [text, actual] of cases) {
        const error = yield* Effect.flip(TinkerPath.parse(text, "modelPath"))
        assert.strictEqual(error.field, "modelPath")
        assert.strictEqual(error.actual, actual)
      }
      assert.strictEqual((yield* Effect.flip(TinkerPath.parse("x"))).field, "path")
      assert.throws(() => TinkerPath.unsafeFromCheckpointId("run", "a"), InvalidInput)
    }))
})

describe("ids in URLs", () => {
  it("keep : and / and escape what would change the URL", () => {
    assert.strictEqual(TinkerPath.encodeId("s-1:sample:0"), "s-1:sample:0")
    assert.strictEqual(TinkerPath.encodeId("weights/a b?#%ä"), "weights/a%20b%3F%23%25%C3%A4")
    assert.strictEqual(TinkerPath.decodeId("%zz"), undefined)
  })

  it("come back from both spellings", () => {
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), (id) => {
      assert.strictEqual(TinkerPath.decodeId(TinkerPath.encodeId(id)), id)
      assert.strictEqual(TinkerPath.decodeId(encodeURIComponent(id)), id)
    }))
  })

  it("of checkpoints are found in URLs with a literal and with an escaped slash", () => {
    const read = { trainingRunId: "s:train:0", kind: "weights" as const, name: "a" }
    for (
      const tail of [
        "s:train:0/checkpoints/weights/a/publish",
        "s:train:0/checkpoints/weights%2Fa/publish",
        "s%3Atrain%3A0/checkpoints/weights%2fa/publish"
      ]
    ) assert.deepStrictEqual(TinkerPath.parseCheckpointUrl(tail), { path: read, action: "publish" })
    assert.deepStrictEqual(TinkerPath.parseCheckpointUrl("s:train:0/checkpoints/weights/a"), {
      path: read,
      action: undefined
    })
    for (
      const bad of [
        "run",
        "run/checkpoints",
        "run/checkpoints/weights",
        "run/other/weights/a",
        "run/checkpoints/odd/a",
        "/checkpoints/weights/a",
        "run/checkpoints/weights//x",
        "run/checkpoints/weights/a/b/c",
        "%zz/checkpoints/weights/a"
      ]
    ) {
      assert.isUndefined(TinkerPath.parseCheckpointUrl(bad), bad)
    }
  })
})

describe("Routes", () => {
  it("write the paths of the official SDK", () => {
    const checkpoint = { trainingRunId: "run-1", kind: "weights" as const, name: "ck" }
    assert.strictEqual(Routes.checkpoint(checkpoint), "/training_runs/run-1/checkpoints/weights/ck")
    assert.strictEqual(Routes.checkpoint(checkpoint, "archive"), "/training_runs/run-1/checkpoints/weights/ck/archive")
    assert.strictEqual(Routes.sampler("sess-1:sample:0"), "/samplers/sess-1:sample:0")
    assert.strictEqual(Routes.session("s"), "/sessions/s")
    assert.strictEqual(Routes.session("s", "finish"), "/sessions/s/finish")
    assert.strictEqual(Routes.trainingRun("r"), "/training_runs/r")
    assert.strictEqual(Routes.trainingRun("r", "checkpoints"), "/training_runs/r/checkpoints")
    assert.strictEqual(Routes.prefix + Routes.paths.forwardBackward, "/api/v1/forward_backward")
  })

  it("are what parseCheckpointUrl reads", () => {
    fc.assert(fc.property(path, (value) => {
      const tail = Routes.checkpoint(value, "ttl").slice("/training_runs/".length)
      assert.deepStrictEqual(TinkerPath.parseCheckpointUrl(tail), { path: value, action: "ttl" })
    }))
  })
})
