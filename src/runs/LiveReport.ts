/**
 * The page of a run that goes on: the report, kept up to date by server-sent events.
 *
 * @since 0.2.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Path from "@effect/platform/Path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { InvalidInput } from "../protocol/InvalidInput.js"
import type { Options } from "./Report.js"
import { collectors, readAll, type RunReport } from "./reportData.js"
import { page } from "./reportHtml.js"

/**
 * `page` answers with the page, `events` with what is new, as server-sent events. Mount the
 * one at a path that ends in `/` and the other at `events` beside it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Live {
  readonly page: Effect.Effect<HttpServerResponse.HttpServerResponse>
  readonly events: Effect.Effect<HttpServerResponse.HttpServerResponse>
}

/** A comment of the protocol, so that connections stay open and dead ones are noticed. */
const heartbeat = ":\n\n"
const beatEvery = 15

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  directories: ReadonlyArray<string>,
  options: Options & {
    /** How often the files are looked at. A second unless given. */
    readonly interval?: Duration.DurationInput | undefined
  } = {}
): Effect.Effect<Live, InvalidInput, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
    const all = yield* collectors(directories, options)
    const interval = Duration.decode(options.interval ?? "1 second")
    let version = 0
    let current: ReadonlyArray<RunReport> = yield* readAll(all)
    // one look at the files at a time, whoever asks
    const mutex = yield* Effect.makeSemaphore(1)
    const look = mutex.withPermits(1)(Effect.gen(function*() {
      const changed = yield* Effect.forEach(all, ({ refresh }) => refresh)
      if (!changed.includes(true)) return
      current = yield* Effect.forEach(all, ({ report }) => report)
      version++
    }))
    const events = Effect.sync(() => {
      let seen = -1
      let quiet = 0
      const next = Effect.gen(function*() {
        if (seen >= 0) yield* Effect.sleep(interval)
        yield* look
        if (seen !== version) {
          seen = version
          quiet = 0
          return `data: ${JSON.stringify(current)}\n\n`
        }
        quiet += Duration.toSeconds(interval)
        if (quiet < beatEvery) return ""
        quiet = 0
        return heartbeat
      })
      return HttpServerResponse.stream(
        Stream.repeatEffect(next).pipe(
          Stream.filter((text) => text !== ""),
          Stream.encodeText,
          Stream.provideContext(context)
        ),
        { contentType: "text/event-stream", headers: { "cache-control": "no-store" } }
      )
    })
    return {
      page: Effect.provide(
        Effect.map(look, () =>
          HttpServerResponse.text(page(current, { live: true }), {
            contentType: "text/html; charset=utf-8",
            headers: { "cache-control": "no-store" }
          })),
        context
      ),
      events
    }
  })
