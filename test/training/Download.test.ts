import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import { type Clock, DateTime, Duration, Effect, Fiber, Layer, Random, Ref, type Scope } from "effect"
import { gzipSync } from "node:zlib"
import { Future, RestClient, ServiceClient } from "tinkex"
import { TestServer } from "../../src/testing/index.js"
import * as Download from "../../src/training/Download.js"
import { entry, tar } from "./fixtures/tar.js"

const path = "tinker://run:train:0/sampler_weights/a"
const folder = "run_train_0_sampler_weights_a"

/** How one request for the bytes goes: what it answers, and after how many bytes it breaks. */
interface Reply {
  readonly status?: number
  readonly ranges?: boolean
  readonly breakAfter?: number
  readonly bytes?: Uint8Array
  readonly etag?: string
  readonly silent?: boolean
  readonly length?: false
}

const serve = (bytes: Uint8Array, replies: (n: number, from: number) => Reply) => {
  const requests: Array<
    { readonly from: number; readonly url: string; readonly headers: Readonly<Record<string, string>> }
  > = []
  const client = HttpClient.make((request, url) =>
    Effect.suspend(() => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers["range"] ?? "")?.[1] ?? 0)
      const reply = replies(requests.length, from)
      requests.push({ from, url: url.href, headers: request.headers })
      const all = reply.bytes ?? bytes
      const partial = from > 0 && reply.ranges !== false
      const body = partial ? all.subarray(from) : all
      let sent = 0
      const stream = new ReadableStream<Uint8Array>({
        pull: (controller) => {
          if (reply.breakAfter !== undefined && sent >= reply.breakAfter) {
            if (reply.silent === true) return
            return controller.error(new Error("socket hang up"))
          }
          if (sent >= body.length) return controller.close()
          const end = Math.min(sent + 700, reply.breakAfter ?? Infinity, body.length)
          controller.enqueue(body.slice(sent, end))
          sent = end
        }
      })
      const status = reply.status ?? (partial ? 206 : 200)
      return Effect.succeed(HttpClientResponse.fromWeb(
        request,
        new Response(status >= 400 ? "no" : stream, {
          status,
          headers: {
            ...(reply.length === false ? {} : { "content-length": String(body.length) }),
            ...(partial ? { "content-range": `bytes ${from}-${all.length - 1}/${all.length}` } : {}),
            ...(reply.etag === undefined ? {} : { etag: reply.etag })
          }
        })
      ))
    })
  )
  let signed = 0
  const rest = Layer.succeed(RestClient.RestClient, {
    getCheckpointArchiveUrl: () =>
      Effect.sync(() => ({ url: `http://files/${signed++}`, expires: DateTime.unsafeMake(1e15) })),
    getExternalWeightsUrls: () =>
      Effect.sync(() => ({
        urls: { "adapter/model.safetensors": `http://files/m${signed}`, "config.json": `http://files/c${signed++}` },
        expires: DateTime.unsafeMake(1e15)
      }))
    // the two that a download calls
  } as unknown as RestClient.Client)
  return { layer: Layer.merge(rest, Layer.succeed(HttpClient.HttpClient, client)), requests, signed: () => signed }
}

const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >> 8)) & 255)
const contents = {
  "adapter_config.json": pattern(700, 1),
  "adapter_model.safetensors": pattern(9000, 2),
  "sub/x": pattern(512, 3)
}
const archive = tar(Object.entries(contents).map(([name, bytes]) => entry(name, bytes)))

/** A folder to download into, and all that lies in and around it. */
const withFolder = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const root = yield* fs.makeTempDirectoryScoped()
  const directory = paths.join(root, "downloads")
  yield* fs.makeDirectory(directory)
  const tree = Effect.map(fs.readDirectory(root, { recursive: true }), (names) => names.sort())
  return { fs, paths, directory, tree }
})

const complete = [
  "downloads",
  `downloads/${folder}`,
  `downloads/${folder}/adapter_config.json`,
  `downloads/${folder}/adapter_model.safetensors`,
  `downloads/${folder}/sub`,
  `downloads/${folder}/sub/x`
]

/** Backs off without waiting. */
const fast = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.withRandom(Effect.withClock(effect, quickClock), Random.make("x"))
const realClock = Effect.runSync(Effect.clock)
const quickClock: Clock.Clock = Object.assign(Object.create(realClock), {
  // waits between attempts, not the limits of waiting
  sleep: (duration: Duration.Duration) =>
    Duration.lessThan(duration, Duration.seconds(50)) ? Effect.yieldNow() : realClock.sleep(duration)
})

const test = (
  name: string,
  body: () => Effect.Effect<void, unknown, NodeContext.NodeContext | Scope.Scope>
) => it.scopedLive(name, () => Effect.provide(body(), NodeContext.layer))

describe("Download", () => {
  test("unpacks an archive into a folder of its own, tar or gzip, and tells how far it is", () =>
    Effect.gen(function*() {
      for (const bytes of [archive, new Uint8Array(gzipSync(archive))]) {
        const { directory, fs, paths, tree } = yield* withFolder
        const seen = yield* Ref.make<ReadonlyArray<Download.Progress>>([])
        const done = yield* Download.download(path, {
          directory,
          onProgress: (progress) => Ref.update(seen, (all) => [...all, progress])
        }).pipe(Effect.provide(serve(bytes, () => ({})).layer))
        assert.deepStrictEqual(yield* tree, complete)
        for (const [name, expected] of Object.entries(contents)) {
          assert.deepStrictEqual(new Uint8Array(yield* fs.readFile(paths.join(done.directory, name))), expected)
        }
        assert.deepStrictEqual(
          done.files,
          Object.entries(contents).map(([name, { length }]) => ({ name, sizeBytes: length }))
        )
        const all = yield* Ref.get(seen)
        assert.deepStrictEqual(all.at(-1), { receivedBytes: bytes.length, totalBytes: bytes.length })
        assert.isTrue(all.every(({ receivedBytes }, i) => i === 0 || receivedBytes > all[i - 1]!.receivedBytes))
      }
    }))

  test("a connection that breaks, at fifty places, is taken up again where it broke", () =>
    Effect.gen(function*() {
      const random = Random.make("download")
      for (let i = 0; i < 50; i++) {
        const at = yield* random.nextIntBetween(0, archive.length)
        const packed = i % 2 === 0 ? archive : new Uint8Array(gzipSync(archive))
        const breakAfter = at % packed.length
        // of three servers one knows no ranges: it sends everything again, and what is known is passed over
        const ranges = i % 3 !== 0
        const service = serve(packed, (n) => ({ ranges, etag: "\"1\"", ...(n === 0 ? { breakAfter } : {}) }))
        const { directory, fs, paths, tree } = yield* withFolder
        yield* fast(Download.download(path, { directory })).pipe(Effect.provide(service.layer))
        assert.deepStrictEqual(yield* tree, complete, `broken after ${breakAfter} bytes`)
        const model = yield* fs.readFile(paths.join(directory, folder, "adapter_model.safetensors"))
        assert.deepStrictEqual(new Uint8Array(model), contents["adapter_model.safetensors"])
        assert.deepStrictEqual(service.requests.map(({ from }) => from), [0, breakAfter])
        assert.strictEqual(service.requests[1]!.headers["if-range"], breakAfter === 0 ? undefined : "\"1\"")
        assert.strictEqual(service.signed(), 1)
      }
    }))

  test("a download that ends for good, at fifty places, leaves nothing, and what was there stays", () =>
    Effect.gen(function*() {
      const random = Random.make("failures")
      const { directory, fs, paths, tree } = yield* withFolder
      yield* fs.makeDirectory(paths.join(directory, folder))
      yield* fs.writeFileString(paths.join(directory, folder, "old"), "old")
      const before = yield* tree
      for (let i = 0; i < 50; i++) {
        const breakAfter = yield* random.nextIntBetween(0, archive.length)
        const service = serve(archive, (n) => n === 0 ? { breakAfter } : { status: 500 })
        const error = yield* fast(Download.download(path, { directory, overwrite: true, attempts: 3 })).pipe(
          Effect.provide(service.layer),
          Effect.flip
        )
        assert.strictEqual(error._tag === "DownloadError" && error.reason, "Unavailable")
        assert.deepStrictEqual(yield* tree, before)
      }
    }))

  test("is interrupted without a trace", () =>
    Effect.gen(function*() {
      const { directory, tree } = yield* withFolder
      const service = serve(archive, () => ({ breakAfter: 3000, silent: true }))
      const some = yield* Effect.makeLatch()
      const fiber = yield* Download.download(path, {
        directory,
        onProgress: ({ receivedBytes }) => receivedBytes >= 3000 ? some.open : Effect.void
      }).pipe(Effect.provide(service.layer), Effect.fork)
      yield* some.await
      assert.isAbove((yield* tree).length, 1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* tree, ["downloads"])
    }))

  test("a silent connection counts as broken", () =>
    Effect.gen(function*() {
      const { directory, tree } = yield* withFolder
      const service = serve(archive, (n) => n === 0 ? { breakAfter: 2000, silent: true } : {})
      yield* Download.download(path, { directory, idleTimeout: Duration.millis(50) }).pipe(
        Effect.provide(service.layer)
      )
      assert.deepStrictEqual(yield* tree, complete)
    }))

  test("a signed URL that expired is asked for again; a server that never gives the bytes is given up", () =>
    Effect.gen(function*() {
      const { directory, tree } = yield* withFolder
      const expired = serve(archive, (n) => n === 0 ? { breakAfter: 1234 } : n === 1 ? { status: 403 } : {})
      yield* fast(Download.download(path, { directory })).pipe(Effect.provide(expired.layer))
      assert.deepStrictEqual(expired.requests.map(({ from, url }) => [url, from]), [
        ["http://files/0", 0],
        ["http://files/0", 1234],
        ["http://files/1", 1234]
      ])
      assert.deepStrictEqual(yield* tree, complete)
      for (const [status, requests] of [[403, 3], [400, 1], [503, 6]] as const) {
        const service = serve(archive, () => ({ status }))
        const error = yield* Effect.flip(
          fast(Download.download(path, { directory, overwrite: true })).pipe(Effect.provide(service.layer))
        )
        assert.include(error.message, String(status))
        assert.lengthOf(service.requests, requests)
      }
      assert.deepStrictEqual(yield* tree, complete)
    }))

  test("another archive than the one begun is refused", () =>
    Effect.gen(function*() {
      const { directory, tree } = yield* withFolder
      const other = tar([entry("other", pattern(40, 9))])
      const changed: ReadonlyArray<Reply> = [
        { etag: "\"2\"", ranges: false },
        { etag: "\"1\"", ranges: false, bytes: other },
        { etag: "\"1\"", bytes: pattern(20_000, 1) }
      ]
      for (const second of changed) {
        const service = serve(archive, (n) => n === 0 ? { breakAfter: 3000, etag: "\"1\"" } : second)
        const error = yield* fast(Download.download(path, { directory })).pipe(
          Effect.provide(service.layer),
          Effect.flip
        )
        assert.strictEqual(error._tag === "DownloadError" && error.reason, "Changed")
        assert.deepStrictEqual(yield* tree, ["downloads"])
      }
    }))

  test("an archive that is cut, empty or no archive is refused, also when its length is not known", () =>
    Effect.gen(function*() {
      const { directory, tree } = yield* withFolder
      const flipped = Uint8Array.from(archive)
      flipped[3] = 88
      const cut = [
        archive.subarray(0, 1500),
        archive.subarray(0, archive.length - 1024),
        archive.subarray(0, 1),
        new Uint8Array(0),
        new Uint8Array(1024),
        pattern(5000, 4),
        flipped,
        new Uint8Array(gzipSync(archive)).subarray(0, 400)
      ]
      for (const [i, bytes] of cut.entries()) {
        const service = serve(Uint8Array.from(bytes), () => ({ length: false }))
        const error = yield* Download.download(path, { directory }).pipe(Effect.provide(service.layer), Effect.flip)
        assert.strictEqual(error._tag === "DownloadError" && error.reason, "Corrupt", `case ${i}`)
        assert.deepStrictEqual(yield* tree, ["downloads"])
      }
    }))

  test("what could reach outside is refused, with nothing written", () =>
    Effect.gen(function*() {
      const evil: Readonly<Record<string, Uint8Array>> = {
        traversal: entry("../evil", pattern(10, 1)),
        "traversal inside": entry("a/../../evil", pattern(10, 1)),
        "traversal of a folder": entry("../evil/", new Uint8Array(0), { type: "5" }),
        absolute: entry("/tmp/evil", pattern(10, 1)),
        backslash: entry("..\\evil", pattern(10, 1)),
        drive: entry("C:evil", pattern(10, 1)),
        symlink: entry("evil", new Uint8Array(0), { type: "2", link: "../../outside" }),
        "hard link": entry("evil", new Uint8Array(0), { type: "1", link: "/etc/passwd" }),
        device: entry("evil", new Uint8Array(0), { type: "3" }),
        fifo: entry("evil", new Uint8Array(0), { type: "6" }),
        "traversal in a pax name": tar([
          entry("PaxHeader", new TextEncoder().encode("20 path=../../evil1\n"), { type: "x" }),
          entry("fine", pattern(10, 1))
        ], { end: false }),
        "traversal in a GNU name": tar([
          entry("././@LongLink", new TextEncoder().encode("../../evil\0"), { type: "L" }),
          entry("fine", pattern(10, 1))
        ], { end: false }),
        "traversal in a prefix": entry("evil", pattern(10, 1), { prefix: ".." }),
        "a link, then a file through it": tar([
          entry("d", new Uint8Array(0), { type: "2", link: "../.." }),
          entry("d/evil", pattern(10, 1))
        ], { end: false })
      }
      const { directory, tree } = yield* withFolder
      for (const [name, bytes] of Object.entries(evil)) {
        const whole = tar([entry("good", pattern(100, 1)), bytes])
        for (const packed of [whole, new Uint8Array(gzipSync(whole))]) {
          const error = yield* Download.download(path, { directory }).pipe(
            Effect.provide(serve(packed, () => ({})).layer),
            Effect.flip
          )
          assert.strictEqual(error._tag === "DownloadError" && error.reason, "Unsafe", name)
          assert.deepStrictEqual(yield* tree, ["downloads"], name)
        }
      }
    }))

  test("bombs are refused: many files, long files, and zeros that were squeezed", () =>
    Effect.gen(function*() {
      const { directory, tree } = yield* withFolder
      const many = tar(Array.from({ length: 60 }, (_, i) => entry(`f${i}`, new Uint8Array(0))))
      const long = tar([entry("f", new Uint8Array(0), { size: 2 ** 42 })])
      const longHeader = tar([entry("x", new Uint8Array(0), { type: "x", size: 2 ** 30 })])
      const squeezed = new Uint8Array(gzipSync(tar([entry("zeros", new Uint8Array(70 * 1024 * 1024))]), { level: 1 }))
      const twice = tar([entry("a", pattern(1, 1)), entry("./a", pattern(1, 2))])
      for (const [i, bytes] of [many, long, longHeader, squeezed, twice].entries()) {
        const error = yield* Download.download(path, { directory, maxEntries: 50 }).pipe(
          Effect.provide(serve(bytes, () => ({})).layer),
          Effect.flip
        )
        assert.strictEqual(
          error._tag === "DownloadError" && error.reason,
          i === 4 ? "Corrupt" : "TooLarge",
          `case ${i}`
        )
        assert.deepStrictEqual(yield* tree, ["downloads"])
      }
    }))

  test("long names, of pax and GNU, and long sizes are read", () =>
    Effect.gen(function*() {
      const { directory, fs, paths } = yield* withFolder
      const name = `${"n".repeat(150)}/file`
      const record = ` path=${name}\n`
      const pax = new TextEncoder().encode(`${record.length + 3}${record}`)
      const bytes = tar([
        entry("PaxHeader", pax, { type: "x" }),
        entry("short", pattern(10, 1)),
        entry("././@LongLink", new TextEncoder().encode(`g${name}\0`), { type: "L" }),
        entry("short", pattern(10, 2)),
        entry("big", pattern(600, 3), { base256: true }),
        entry("", new Uint8Array(0), { type: "g" })
      ])
      const done = yield* Download.download(path, { directory }).pipe(Effect.provide(serve(bytes, () => ({})).layer))
      assert.deepStrictEqual(done.files.map((file) => file.name), [name, `g${name}`, "big"])
      assert.deepStrictEqual(new Uint8Array(yield* fs.readFile(paths.join(done.directory, "big"))), pattern(600, 3))
    }))

  test("what is there stays, unless it may be replaced", () =>
    Effect.gen(function*() {
      const { directory, fs, paths, tree } = yield* withFolder
      const service = serve(archive, () => ({}))
      yield* Download.download(path, { directory }).pipe(Effect.provide(service.layer))
      yield* fs.writeFileString(paths.join(directory, folder, "mine"), "mine")
      const error = yield* Download.download(path, { directory }).pipe(Effect.provide(service.layer), Effect.flip)
      assert.strictEqual(error._tag === "DownloadError" && error.reason, "Exists")
      assert.lengthOf(service.requests, 1)
      assert.include(yield* tree, `downloads/${folder}/mine`)
      yield* Download.download(path, { directory, overwrite: true }).pipe(Effect.provide(service.layer))
      assert.deepStrictEqual(yield* tree, complete)
    }))

  test("the files of an export come one by one, each taken up where it broke", () =>
    Effect.gen(function*() {
      const { directory, fs, paths } = yield* withFolder
      const service = serve(pattern(3000, 5), (n) => n === 0 ? { breakAfter: 1000 } : {})
      const done = yield* fast(Download.download("tinker://r/external_weights/e", { directory })).pipe(
        Effect.provide(service.layer)
      )
      assert.deepStrictEqual(done.files, [
        { name: "adapter/model.safetensors", sizeBytes: 3000 },
        { name: "config.json", sizeBytes: 3000 }
      ])
      const model = yield* fs.readFile(paths.join(done.directory, "adapter/model.safetensors"))
      assert.deepStrictEqual(new Uint8Array(model), pattern(3000, 5))
    }))

  test("a folder that cannot be written is said to be one", () =>
    Effect.gen(function*() {
      const { directory, fs, paths } = yield* withFolder
      yield* fs.writeFileString(paths.join(directory, "file"), "")
      const error = yield* Download.download(path, { directory: paths.join(directory, "file") }).pipe(
        Effect.provide(serve(archive, () => ({})).layer),
        Effect.flip
      )
      assert.strictEqual(error._tag === "DownloadError" && error.reason, "Storage")
      const bad = yield* Download.download("run/weights/a", { directory }).pipe(
        Effect.provide(serve(archive, () => ({})).layer),
        Effect.flip
      )
      assert.strictEqual(bad._tag, "InvalidInput")
    }))

  test("downloads what the embedded server saved", () =>
    Effect.gen(function*() {
      const { directory, fs, paths } = yield* withFolder
      const service = yield* ServiceClient.ServiceClient
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano-random", rank: 4 })
      const saved = yield* Effect.flatMap(training.saveWeightsForSampler("a"), Future.await)
      const done = yield* Download.download(saved.path, { directory })
      const names = done.files.map(({ name }) => name)
      assert.includeMembers(names, ["adapter_config.json", "adapter_model.safetensors", "checkpoint_complete"])
      const config: unknown = JSON.parse(yield* fs.readFileString(paths.join(done.directory, "adapter_config.json")))
      assert.strictEqual((config as { readonly r: number }).r, 4)
    }).pipe(Effect.provide(Layer.provideMerge(RestClient.layer, TestServer.layer()))))

  test("a server that cannot be reached is given up", () =>
    Effect.gen(function*() {
      const { directory, tree } = yield* withFolder
      const broken = HttpClient.make((request) =>
        Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport" }))
      )
      const error = yield* fast(Download.download(path, { directory })).pipe(
        Effect.provideService(HttpClient.HttpClient, broken),
        Effect.provide(serve(archive, () => ({})).layer),
        Effect.flip
      )
      assert.include(error.message, "no connection, 6 times in a row")
      assert.deepStrictEqual(yield* tree, ["downloads"])
    }))
})
