import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import { crc32c } from "../../src/runs/crc32c.js"
import * as Journal from "../../src/runs/Journal.js"
import type { JournalDamaged } from "../../src/runs/RunError.js"

type Entry = { readonly n: number; readonly text: string }
const step = (state: ReadonlyArray<Entry>, entry: Entry) => [...state, entry]

const inFile = <A, E>(use: (file: string, fs: FileSystem.FileSystem) => Effect.Effect<A, E, FileSystem.FileSystem>) =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    return yield* use(`${yield* fs.makeTempDirectoryScoped()}/journal.jsonl`, fs)
  })).pipe(Effect.provide(NodeFileSystem.layer))

const reopen = (file: string) => Effect.scoped(Journal.open(file, [] as ReadonlyArray<Entry>, step))
const write = (file: string, ...entries: ReadonlyArray<Entry>) =>
  Effect.scoped(
    Effect.flatMap(Journal.open(file, [] as ReadonlyArray<Entry>, step), ({ append }) => append(...entries))
  )

const entries = [{ n: 1, text: "eins" }, { n: 2, text: "zw\nei – ü" }, { n: 3, text: "" }]

describe("Journal", () => {
  it("checksums are CRC-32C: the check value of RFC 3720", () => {
    assert.strictEqual(crc32c(new TextEncoder().encode("123456789")), 0xe3069283)
  })

  it.live("says again what was appended, over any number of openings", () =>
    inFile((file) =>
      Effect.gen(function*() {
        for (const entry of entries) yield* write(file, entry)
        const { cut, state } = yield* reopen(file)
        assert.deepStrictEqual(state, entries)
        assert.strictEqual(cut, 0)
      })
    ))

  it.live("entries of many fibers stand in the order of asking, each with its number", () =>
    inFile((file) =>
      Effect.gen(function*() {
        yield* Effect.scoped(Effect.gen(function*() {
          const journal = yield* Journal.open(file, 0, (n) => n + 1)
          yield* Effect.forEach(
            Array.from({ length: 200 }, (_, n) => n),
            (n) => n % 3 === 0 ? journal.note({ n }) : journal.append({ n }),
            { concurrency: "unbounded" }
          )
        }))
        const { state } = yield* Effect.scoped(
          Journal.open(file, [] as ReadonlyArray<number>, (all, { n }: { n: number }) => [...all, n])
        )
        assert.deepStrictEqual(state, Array.from({ length: 200 }, (_, n) => n))
      })
    ))

  it.live("wherever a last line is torn, it is cut and the journal goes on", () =>
    inFile((file, fs) =>
      Effect.gen(function*() {
        yield* write(file, ...entries)
        const whole = Uint8Array.from(yield* fs.readFile(file))
        const starts = [0]
        whole.forEach((byte, i) => byte === 10 && starts.push(i + 1))
        for (let length = starts[2]!; length < whole.length; length++) {
          yield* fs.writeFile(file, whole.subarray(0, length))
          yield* write(file, { n: 9, text: "after" })
          const { state } = yield* reopen(file)
          assert.deepStrictEqual(state.map(({ n }) => n), [1, 2, 9], `cut at ${length}`)
        }
      })
    ))

  it.live("a line that is damaged anywhere else is an error that names it", () =>
    inFile((file, fs) =>
      Effect.gen(function*() {
        yield* write(file, ...entries)
        const whole = Uint8Array.from(yield* fs.readFile(file))
        const first = whole.indexOf(10)
        const damage = (bytes: Uint8Array) =>
          Effect.zipRight(fs.writeFile(file, bytes), Effect.flip(reopen(file))).pipe(
            // what else might go wrong with the file does not
            Effect.map((error) => error as JournalDamaged),
            Effect.provideService(FileSystem.FileSystem, fs)
          )
        // in the second of three lines, any byte
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(fc.integer({ min: first + 1, max: whole.indexOf(10, first + 1) }), async (at) => {
              const bytes = whole.slice()
              bytes[at] = bytes[at]! ^ 1
              const error = await Effect.runPromise(damage(bytes))
              assert.strictEqual(error._tag, "JournalDamaged")
              assert.strictEqual(error.line, 2)
              assert.strictEqual(error.offset, first + 1)
              assert.include(error.message, "line 2")
              assert.deepStrictEqual(await Effect.runPromise(fs.readFile(file)), bytes)
            }),
            { numRuns: 40, seed: 1 }
          )
        )
        // a line that is missing
        const text = new TextDecoder().decode(whole).split("\n")
        const error = yield* damage(new TextEncoder().encode([text[0], text[2], ""].join("\n")))
        assert.deepStrictEqual([error.line, error.reason], [2, "sequence"])
      })
    ))
})
