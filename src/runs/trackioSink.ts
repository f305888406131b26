/** Rows for a trackio server: `POST /api/bulk_log`. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Path from "@effect/platform/Path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { hash } from "./hash.js"
import type { MetricSink } from "./MetricSink.js"
import { replaceFile, type Row } from "./RunDirectory.js"
import { SinkError } from "./RunError.js"

interface Options {
  readonly url: string
  readonly project: string
  readonly run?: string | undefined
  readonly writeToken?: Redacted.Redacted | undefined
  readonly hfToken?: Redacted.Redacted | undefined
}

const attempts = 5
const patience = Duration.seconds(20)

/** Numbers and texts; trackio reads anything else as media. */
const figures = (row: Row): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).filter(([key, value]) =>
      key !== "step" && (typeof value === "number" || typeof value === "string")
    )
  )

export const make = (options: Options): MetricSink => ({
  name: "trackio",
  open: ({ config, directory, name, start }) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const http = yield* HttpClient.HttpClient
      const run = options.run ?? name
      const failed = (detail: string, cause?: unknown) => new SinkError({ sink: "trackio", detail, cause })
      /** How far the server was told. */
      const file = path.join(directory, "trackio.json")
      const told = yield* Effect.orElseSucceed(fs.readFileString(file), () => "")
      const match = /"next":(\d+)/.exec(told)
      let from = Math.min(start, match === null ? 0 : Number(match[1]))
      const id = hash([options.project, run, path.resolve(directory)])
      const send = (rows: ReadonlyArray<Row>) =>
        Effect.gen(function*() {
          const request = yield* HttpClientRequest.post(`${options.url.replace(/\/+$/, "")}/api/bulk_log`).pipe(
            HttpClientRequest.setHeaders(
              options.writeToken === undefined ? {} : { "x-trackio-write-token": Redacted.value(options.writeToken) }
            ),
            HttpClientRequest.bodyJson({
              logs: rows.map((row) => ({
                project: options.project,
                run,
                run_id: id,
                step: row["step"],
                metrics: figures(row),
                log_id: `${id}-${String(row["step"])}`,
                ...(row["step"] === 0 ? { config } : {})
              })),
              hf_token: options.hfToken === undefined ? null : Redacted.value(options.hfToken)
            })
          )
          const response = yield* http.execute(request)
          if (response.status === 200) return
          // answers hold no secrets of ours, but may be pages
          const text = yield* Effect.orElseSucceed(response.text, () => "")
          return yield* failed(`${options.url} answered ${response.status}: ${text.slice(0, 200)}`)
        }).pipe(
          Effect.scoped,
          Effect.timeoutFail({ duration: patience, onTimeout: () => failed(`${options.url} did not answer in time`) }),
          Effect.mapError((cause) =>
            cause._tag === "SinkError"
              ? cause
              : failed(`${options.url}: ${"message" in cause ? cause.message : cause._tag}`, cause)
          ),
          Effect.retry(Schedule.intersect(Schedule.exponential("500 millis"), Schedule.recurs(attempts - 1)))
        )
      return {
        from,
        take: (rows) =>
          Effect.gen(function*() {
            yield* send(rows)
            from = Number(rows.at(-1)?.["step"] ?? from - 1) + 1
            yield* Effect.ignore(
              Effect.provideService(replaceFile(file, `{"next":${from}}\n`), FileSystem.FileSystem, fs)
            )
          })
      }
    })
})
