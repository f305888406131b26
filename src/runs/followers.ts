/** Sinks that follow the rows of a run, each at its own pace. */
import * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { MetricSink, Opening } from "./MetricSink.js"
import type { Row } from "./RunDirectory.js"

/** Rows that a sink is given at a time. */
const portion = 500
/** How long the end of training waits for slow sinks; they take the rest the next time. */
const farewell = "30 seconds"

export interface Followers {
  /** There are new rows. */
  readonly wake: Effect.Effect<void>
  /** Waits until every sink has what there is. */
  readonly finish: Effect.Effect<void>
}

/** Gives the rows that were added since it was last asked. */
const reader = (fs: FileSystem.FileSystem, file: string) =>
  Effect.map(fs.open(file, { flag: "r" }), (handle) => {
    const buffer = new Uint8Array(1 << 16)
    const decoder = new TextDecoder()
    let rest = ""
    return Effect.gen(function*() {
      const rows: Array<Row> = []
      while (rows.length < portion) {
        const size = Number(yield* handle.read(buffer))
        if (size === 0) break
        const texts = (rest + decoder.decode(buffer.subarray(0, size), { stream: true })).split("\n")
        rest = texts.pop() ?? ""
        for (const text of texts) rows.push(JSON.parse(text) as Row) // lines that this run wrote, and has mended
      }
      return rows
    })
  })

export const follow = (
  file: string,
  sinks: ReadonlyArray<MetricSink>,
  opening: Opening
): Effect.Effect<Followers, never, FileSystem.FileSystem | Path.Path | HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const all = yield* Effect.forEach(sinks, (sink) =>
      Effect.gen(function*() {
        const signal = yield* Queue.sliding<boolean>(1)
        const work = Effect.scoped(Effect.gen(function*() {
          const { from, take } = yield* sink.open(opening)
          const read = yield* reader(fs, file)
          let last = false
          while (!last) {
            last = yield* Queue.take(signal)
            while (true) {
              const rows = yield* read
              if (rows.length === 0) break
              const wanted = rows.filter(({ step }) => typeof step === "number" && step >= from)
              if (wanted.length > 0) yield* take(wanted)
            }
          }
        })).pipe(
          Effect.catchAll((error) => Effect.logWarning(`metrics go no longer to ${sink.name}: ${error.message}`))
        )
        return { signal, fiber: yield* Effect.forkScoped(Effect.interruptible(work)) }
      }))
    return {
      wake: Effect.forEach(all, ({ signal }) => Queue.offer(signal, false), { discard: true }),
      finish: Effect.forEach(
        all,
        ({ fiber, signal }) => Effect.zipRight(Queue.offer(signal, true), Fiber.await(fiber)),
        {
          concurrency: "unbounded",
          discard: true
        }
      ).pipe(
        Effect.timeoutOption(farewell),
        Effect.asVoid
      )
    }
  })
