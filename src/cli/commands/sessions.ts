/**
 * What `tinkex session` does.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type AccessScope, RestClient } from "../../client/RestClient.js"
import { GetSessionResponse } from "../../protocol/Session.js"
import { type Connection, rest } from "../terminal/connect.js"
import { Failed } from "../terminal/failed.js"
import * as Show from "../terminal/show.js"
import { Terminal } from "../terminal/terminal.js"
import { writeWhole } from "../terminal/writeFile.js"
import { checkPage } from "./checkpoints.js"

interface Output extends Connection {
  readonly json: boolean
  readonly format: "table" | "json"
}

const encode = Schema.encode(GetSessionResponse)

export const list = (
  args: Output & { readonly limit: number; readonly offset: number; readonly accessScope: AccessScope }
) =>
  Effect.gen(function*() {
    yield* checkPage(args)
    const client = yield* RestClient
    const terminal = yield* Terminal
    const { accessScope, limit, offset } = args
    const sessions = Array.from(
      yield* Stream.runCollect(client.listSessions({ offset, accessScope, ...(limit === 0 ? {} : { limit }) }))
    )
    if (Show.wantsJson(args)) return yield* Show.json({ sessions })
    if (sessions.length === 0) return yield* terminal.note("no sessions")
    yield* Show.table(["Session ID"], sessions.map((id) => [id]))
  }).pipe(Effect.provide(rest(args)))

export const info = (args: Output & { readonly sessionId: string; readonly accessScope: AccessScope }) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    const session = yield* client.getSession(args.sessionId, { accessScope: args.accessScope })
    if (Show.wantsJson(args)) {
      return yield* Show.json({ session_id: args.sessionId, ...(yield* encode(session)) })
    }
    yield* Show.properties([
      ["Session ID", args.sessionId],
      ["Name", session.displayName ?? Show.none],
      ["Training Runs", session.trainingRunIds.join(", ") || Show.none],
      ["Samplers", session.samplerIds.join(", ") || Show.none],
      ...Object.entries(session.userMetadata ?? {}).map(([key, value]) => [`Metadata ${key}`, value] as const)
    ])
  }).pipe(Effect.provide(rest(args)))

export const exportTrace = (
  args: Output & { readonly sessionId: string; readonly output: Option.Option<string>; readonly urlOnly: boolean }
) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    const terminal = yield* Terminal
    const http = HttpClient.followRedirects(HttpClient.filterStatusOk(yield* HttpClient.HttpClient), 5)
    yield* terminal.progress("waiting for the export")
    const url = yield* Effect.ensuring(client.exportSessionTrace(args.sessionId), terminal.progress(""))
    if (args.urlOnly) {
      return yield* Show.wantsJson(args) ? Show.json({ session_id: args.sessionId, url }) : terminal.print(url)
    }
    let size = 0
    const bytes = Stream.unwrap(Effect.map(http.get(url), (response) => response.stream)).pipe(
      Stream.tap((piece) => terminal.progress(Show.size(size += piece.length))),
      Stream.mapError(() => new Failed({ message: "the trace could not be fetched; try again" }))
    )
    const target = Option.getOrElse(args.output, () => `${args.sessionId.replaceAll(/[^\w.-]/g, "_")}.pftrace`)
    const destination = yield* Effect.ensuring(writeWhole(target, bytes), terminal.progress(""))
    yield* Show.wantsJson(args)
      ? Show.json({ session_id: args.sessionId, destination, file_size_bytes: size })
      : terminal.print(destination)
  }).pipe(Effect.provide(rest(args)))
