/**
 * What `tinkex checkpoint` does.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { RestClient } from "../../client/RestClient.js"
import * as Protocol from "../../protocol/Checkpoint.js"
import * as TinkerPath from "../../protocol/TinkerPath.js"
import * as Download from "../../training/Download.js"
import { confirm } from "../terminal/confirm.js"
import { type Connection, rest } from "../terminal/connect.js"
import { Failed } from "../terminal/failed.js"
import * as Show from "../terminal/show.js"
import { style, Terminal } from "../terminal/terminal.js"

interface Output extends Connection {
  readonly json: boolean
  readonly format: "table" | "json"
}

const encode = Schema.encode(Protocol.Checkpoint)

const headings = ["Checkpoint ID", "Type", "Size", "Public", "Created", "Expires", "Path"]

const row = (checkpoint: Protocol.Checkpoint, now: number): ReadonlyArray<string> => [
  checkpoint.checkpointId,
  checkpoint.checkpointType,
  Show.size(checkpoint.sizeBytes),
  Show.yesNo(checkpoint.public),
  Show.time(checkpoint.time, now),
  checkpoint.expiresAt === undefined ? "Never" : Show.time(checkpoint.expiresAt, now),
  checkpoint.tinkerPath
]

/** Refuses a page that is none before anything is sent. */
export const checkPage = (args: { readonly limit: number; readonly offset: number }) =>
  args.limit < 0 || args.offset < 0
    ? Effect.fail(new Failed({ message: "--limit and --offset: expected numbers from 0" }))
    : Effect.void

export const list = (
  args: Output & { readonly runId: Option.Option<string>; readonly limit: number; readonly offset: number }
) =>
  Effect.gen(function*() {
    yield* checkPage(args)
    const client = yield* RestClient
    const terminal = yield* Terminal
    let total: number | undefined
    let checkpoints: ReadonlyArray<Protocol.Checkpoint>
    if (Option.isSome(args.runId)) {
      checkpoints = Array.from(yield* Stream.runCollect(client.listCheckpoints(args.runId.value)))
    } else if (args.limit > 0 && args.limit <= 1000) {
      const page = yield* client.userCheckpointsPage({ limit: args.limit, offset: args.offset })
      checkpoints = page.checkpoints
      total = page.cursor?.totalCount
    } else {
      let read = 0
      checkpoints = Array.from(
        yield* client.listUserCheckpoints({
          offset: args.offset,
          ...(args.limit === 0 ? {} : { limit: args.limit })
        }).pipe(
          Stream.tap(() => ++read % 1000 === 0 ? terminal.progress(`${read} checkpoints`) : Effect.void),
          Stream.runCollect
        )
      )
      yield* terminal.progress("")
    }
    if (Show.wantsJson(args)) {
      return yield* Show.json({
        ...(Option.isSome(args.runId) ? { run_id: args.runId.value } : {}),
        checkpoints: yield* Effect.forEach(checkpoints, (checkpoint) => encode(checkpoint))
      })
    }
    if (checkpoints.length === 0) return yield* terminal.note("no checkpoints")
    const now = yield* Clock.currentTimeMillis
    yield* Show.table(headings, checkpoints.map((checkpoint) => row(checkpoint, now)))
    const more = (total ?? 0) - args.offset - checkpoints.length
    if (more > 0) yield* terminal.note(`${more} more not shown, use --limit to see more`)
  }).pipe(Effect.provide(rest(args)))

export const info = (args: Output & { readonly path: string }) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    const checkpoint = yield* client.getCheckpoint(args.path)
    const run = yield* client.getTrainingRunByPath(args.path)
    if (Show.wantsJson(args)) {
      return yield* Show.json({ ...(yield* encode(checkpoint)), is_lora: run.isLora, lora_rank: run.loraRank ?? null })
    }
    const now = yield* Clock.currentTimeMillis
    yield* Show.properties([
      ...row(checkpoint, now).map((value, i) => [headings[i] ?? "", value] as const),
      ["Training Run", run.trainingRunId],
      ["Base Model", checkpoint.baseModel ?? run.baseModel],
      ["LoRA", run.isLora ? (run.loraRank === undefined ? "Yes" : `Rank ${run.loraRank}`) : "No"],
      ...Object.entries(checkpoint.userMetadata ?? {}).map(([key, value]) => [`Metadata ${key}`, value] as const)
    ])
  }).pipe(Effect.provide(rest(args)))

/** Says what was done: on stderr for people, as JSON for programs. */
const done = (args: Output, path: string, text: string, facts: object) =>
  Show.wantsJson(args)
    ? Show.json({ tinker_path: path, ...facts })
    : Effect.flatMap(Terminal, (terminal) => terminal.note(text))

export const setPublic = (args: Output & { readonly path: string }, value: boolean) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    yield* value ? client.publishCheckpoint(args.path) : client.unpublishCheckpoint(args.path)
    yield* done(args, args.path, `${args.path} is ${value ? "public" : "private"}`, { public: value })
  }).pipe(Effect.provide(rest(args)))

export const setTtl = (
  args: Output & { readonly path: string; readonly ttl: Option.Option<number>; readonly remove: boolean }
) =>
  Effect.gen(function*() {
    if (Option.isSome(args.ttl) === args.remove) {
      return yield* new Failed({ message: "expected exactly one of --ttl SECONDS and --remove" })
    }
    const client = yield* RestClient
    const seconds = Option.getOrNull(args.ttl)
    yield* client.setCheckpointTtl(args.path, seconds === null ? null : Duration.seconds(seconds))
    yield* done(
      args,
      args.path,
      seconds === null ? `${args.path} never expires` : `${args.path} expires in ${seconds} s`,
      { ttl_seconds: seconds }
    )
  }).pipe(Effect.provide(rest(args)))

const kinds = { weights: "training", sampler_weights: "sampler", training: "training", sampler: "sampler" } as const

interface RemoveArgs extends Output {
  readonly runId: Option.Option<string>
  readonly type: Option.Option<keyof typeof kinds>
  readonly before: Option.Option<Date>
  readonly after: Option.Option<Date>
  readonly yes: boolean
  readonly paths: ReadonlyArray<string>
}

/** The paths that are meant; everything is checked before anything is deleted. */
const selected = (args: RemoveArgs) =>
  Effect.gen(function*() {
    const filtered = Option.isSome(args.type) || Option.isSome(args.before) || Option.isSome(args.after)
    if (Option.isSome(args.runId) === args.paths.length > 0) {
      return yield* new Failed({ message: "expected either paths or --run-id" })
    }
    if (Option.isNone(args.runId)) {
      if (filtered) return yield* new Failed({ message: "--type, --before and --after need --run-id" })
      yield* Effect.forEach(args.paths, (path) => TinkerPath.parse(path), { discard: true })
      return [...new Set(args.paths)]
    }
    const client = yield* RestClient
    const all = Array.from(yield* Stream.runCollect(client.listCheckpoints(args.runId.value)))
    return all.filter(({ checkpointType, time }) =>
      Option.match(args.type, { onNone: () => true, onSome: (type) => kinds[type] === checkpointType }) &&
      Option.match(args.before, { onNone: () => true, onSome: (at) => time.epochMillis < at.getTime() }) &&
      Option.match(args.after, { onNone: () => true, onSome: (at) => time.epochMillis > at.getTime() })
    ).map(({ tinkerPath }) => tinkerPath)
  })

export const remove = (args: RemoveArgs) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    const terminal = yield* Terminal
    const paths = yield* selected(args)
    const asJson = Show.wantsJson(args)
    if (paths.length > 0 && !args.yes) {
      for (const path of paths) yield* terminal.note(path)
      yield* confirm(`Delete ${paths.length} checkpoint${paths.length === 1 ? "" : "s"} for good?`)
    }
    let count = 0
    const results = yield* Effect.forEach(paths, (path) =>
      Effect.either(client.deleteCheckpoint(path)).pipe(
        Effect.tap(() => terminal.progress(`${++count}/${paths.length}`)),
        Effect.map((result) => ({ path, result }))
      ), { concurrency: 32 })
    yield* terminal.progress("")
    const failed = results.flatMap(({ path, result }) =>
      Either.isLeft(result) ? [{ tinker_path: path, error: result.left.message }] : []
    )
    const deleted = paths.length - failed.length
    if (asJson) yield* Show.json({ deleted_count: deleted, failed })
    else {
      for (const { error } of failed) yield* terminal.note(`${style(terminal, 31, "failed:")} ${error}`)
      yield* terminal.print(`Deleted ${deleted} checkpoint${deleted === 1 ? "" : "s"}`)
    }
    if (failed.length > 0) {
      yield* new Failed({ message: `${failed.length} of ${paths.length} were not deleted` })
    }
  }).pipe(Effect.provide(rest(args)))

export const download = (
  args: Output & { readonly path: string; readonly output: string; readonly force: boolean }
) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const result = yield* Download.download(args.path, {
      directory: args.output,
      overwrite: args.force,
      onProgress: ({ receivedBytes, totalBytes }) =>
        terminal.progress(
          totalBytes === undefined
            ? Show.size(receivedBytes)
            : `${Show.size(receivedBytes)} of ${Show.size(totalBytes)} (${
              Math.floor(receivedBytes / totalBytes * 100)
            } %)`
        )
    }).pipe(Effect.ensuring(terminal.progress("")))
    if (Show.wantsJson(args)) {
      return yield* Show.json({
        checkpoint_path: args.path,
        destination: result.directory,
        file_size_bytes: result.receivedBytes,
        files: result.files.map(({ name, sizeBytes }) => ({ name, size_bytes: sizeBytes }))
      })
    }
    yield* terminal.note(`${result.files.length} files, ${Show.size(result.receivedBytes)}`)
    yield* terminal.print(result.directory)
  }).pipe(Effect.provide(rest(args)))
