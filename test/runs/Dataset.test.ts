import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Schema } from "effect"
import * as Dataset from "../../src/runs/Dataset.js"
import { permuted } from "../../src/runs/permutation.js"

const all = <A>(dataset: Dataset.Dataset<A>, epoch: number, seed?: number) =>
  Effect.map(
    Effect.forEach(
      Array.from({ length: dataset.batchesPerEpoch }, (_, i) => epoch * dataset.batchesPerEpoch + i),
      (step) => dataset.batch(step, seed)
    ),
    (batches) => batches.flat()
  )

describe("the order of an epoch", () => {
  it("is a permutation, of any number of examples", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), fc.integer(), fc.nat(1000), (n, seed, epoch) => {
        const at = permuted(n, seed, epoch)
        const seen = new Set(Array.from({ length: n }, (_, i) => at(i)))
        assert.strictEqual(seen.size, n)
        for (const i of seen) assert.isTrue(i >= 0 && i < n)
      }),
      { seed: 1 }
    )
  })

  it("puts every example at every place equally often", () => {
    for (const n of [2, 3, 5, 10, 16]) {
      const rounds = 4000
      const counts = Array.from({ length: n * n }, () => 0)
      for (let epoch = 0; epoch < rounds; epoch++) {
        const at = permuted(n, 7, epoch)
        for (let i = 0; i < n; i++) counts[i * n + at(i)]!++
      }
      const expected = rounds / n
      const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
      // (n - 1)^2 degrees of freedom; five standard deviations above their mean
      const freedom = (n - 1) ** 2
      assert.isBelow(chi, freedom + 5 * Math.sqrt(2 * freedom) + 5, `n = ${n}`)
    }
  })

  it("keeps no neighbours together", () => {
    const n = 10_000
    const at = permuted(n, 3, 0)
    let neighbours = 0
    for (let i = 1; i < n; i++) if (Math.abs(at(i) - at(i - 1)) === 1) neighbours++
    // two in expectation
    assert.isBelow(neighbours, 12)
  })

  it("differs with seed and epoch, and needs no memory: an epoch of a trillion examples", () => {
    const first = Array.from({ length: 20 }, (_, i) => permuted(1e12, 1, 0)(i))
    assert.notDeepEqual(Array.from({ length: 20 }, (_, i) => permuted(1e12, 2, 0)(i)), first)
    assert.notDeepEqual(Array.from({ length: 20 }, (_, i) => permuted(1e12, 1, 1)(i)), first)
    assert.isTrue(first.every((i) => Number.isSafeInteger(i) && i >= 0 && i < 1e12))
    // it is the same on every machine
    assert.deepStrictEqual(Array.from({ length: 8 }, (_, i) => permuted(8, 1, 0)(i)), [5, 2, 6, 4, 1, 3, 7, 0])
  })
})

describe("Dataset", () => {
  const examples = Array.from({ length: 10 }, (_, i) => `example ${i}`)

  it.effect("an epoch holds every example once; what does not fill a batch is left out unless it is kept", () =>
    Effect.gen(function*() {
      const dropped = yield* Dataset.fromArray(examples, { batchSize: 3, seed: 1 })
      assert.strictEqual(dropped.batchesPerEpoch, 3)
      assert.strictEqual(new Set(yield* all(dropped, 0)).size, 9)
      const kept = yield* Dataset.fromArray(examples, { batchSize: 3, seed: 1, keepRest: true })
      assert.strictEqual(kept.batchesPerEpoch, 4)
      for (const epoch of [0, 1, 5]) assert.deepStrictEqual([...yield* all(kept, epoch)].sort(), examples)
      assert.notDeepEqual(yield* all(kept, 0), yield* all(kept, 1))
      assert.strictEqual((yield* kept.batch(3)).length, 1)
      const plain = yield* Dataset.fromArray(examples, { batchSize: 5, shuffle: false })
      assert.deepStrictEqual(yield* all(plain, 3), examples)
    }))

  it.effect("any step at once, the same whoever asks; the run's seed counts unless there is one of its own", () =>
    Effect.gen(function*() {
      const dataset = yield* Dataset.fromArray(examples, { batchSize: 2 })
      assert.deepStrictEqual(yield* dataset.batch(1_000_003, 5), yield* dataset.batch(1_000_003, 5))
      assert.notDeepEqual(yield* all(dataset, 0, 5), yield* all(dataset, 0, 6))
      const own = yield* Dataset.fromArray(examples, { batchSize: 2, seed: 9 })
      assert.deepStrictEqual(yield* all(own, 0, 5), yield* all(own, 0, 6))
    }))

  it.effect("the fingerprint differs when an example, the batch size or the order does", () =>
    Effect.gen(function*() {
      const print = (data: ReadonlyArray<unknown>, options: Dataset.Options) =>
        Effect.flatMap(Dataset.fromArray(data, options), ({ fingerprint }) => fingerprint)
      const prints = [
        yield* print(examples, { batchSize: 2 }),
        yield* print(examples, { batchSize: 5 }),
        yield* print(examples, { batchSize: 2, shuffle: false }),
        yield* print(examples, { batchSize: 2, keepRest: true }),
        yield* print(examples, { batchSize: 2, seed: 1 }),
        yield* print(examples.slice(1), { batchSize: 2 }),
        yield* print([...examples.slice(0, 9), "example X"], { batchSize: 2 }),
        yield* print([...examples].reverse(), { batchSize: 2 })
      ]
      assert.strictEqual(new Set(prints).size, prints.length)
      assert.strictEqual(yield* print([...examples], { batchSize: 2 }), prints[0])
      const mapped = Dataset.map(yield* Dataset.fromArray(examples, { batchSize: 2 }), (text) =>
        Effect.succeed(text.length), "1")
      assert.notStrictEqual(yield* mapped.fingerprint, prints[0])
      assert.deepStrictEqual(yield* mapped.batch(0), [9, 9])
    }))

  it.scoped("lines of a file are read when their batch comes; one that is no example is named", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* fs.makeTempDirectoryScoped()}/data.jsonl`
      const lines = Array.from({ length: 5000 }, (_, i) => JSON.stringify({ i, text: "ü".repeat(i % 50) }))
      lines[70] = "{"
      yield* fs.writeFileString(file, `\n${lines.join("\r\n")}`)
      const schema = Schema.Struct({ i: Schema.Int, text: Schema.String })
      const dataset = yield* Dataset.fromJsonLines(file, schema, { batchSize: 10, shuffle: false })
      assert.strictEqual(dataset.size, 5000)
      const batch = yield* dataset.batch(499)
      assert.deepStrictEqual(batch.map(({ i }) => i), Array.from({ length: 10 }, (_, i) => 4990 + i))
      assert.strictEqual(batch[9]!.text, "ü".repeat(49))
      const error = yield* Effect.flip(dataset.batch(7))
      assert.match(error.message, /line 72 of .*data\.jsonl: expected an example of the data set's schema/)
      const before = yield* dataset.fingerprint
      yield* fs.writeFileString(file, `\n${lines.join("\r\n")} `)
      const after = yield* Dataset.fromJsonLines(file, schema, { batchSize: 10, shuffle: false })
      assert.notStrictEqual(yield* after.fingerprint, before)
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.effect("what cannot be a data set is refused", () =>
    Effect.gen(function*() {
      for (
        const [data, options, field] of [
          [[], { batchSize: 1 }, "size"],
          [examples, { batchSize: 11 }, "batchSize"],
          [examples, { batchSize: 0 }, "batchSize"],
          [examples, { batchSize: 2, seed: 1.5 }, "seed"]
        ] as const
      ) {
        assert.strictEqual((yield* Effect.flip(Dataset.fromArray(data, options))).field, field)
      }
    }))
})
