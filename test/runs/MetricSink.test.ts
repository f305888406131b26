import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, TestClock } from "effect"
import * as Datum from "../../src/protocol/Datum.js"
import { crc32c } from "../../src/runs/crc32c.js"
import * as Dataset from "../../src/runs/Dataset.js"
import * as MetricSink from "../../src/runs/MetricSink.js"
import * as Run from "../../src/runs/Run.js"
import { SinkError } from "../../src/runs/RunError.js"
import { TestServer } from "../../src/testing/index.js"

interface Event {
  readonly step: number
  readonly version: string | undefined
  readonly status: number | undefined
  readonly values: Readonly<Record<string, number>>
}

/** Reads protobuf fields: numbers as they are, the rest as bytes. */
const fields = (bytes: Uint8Array): ReadonlyArray<readonly [number, number | Uint8Array]> => {
  const found: Array<readonly [number, number | Uint8Array]> = []
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = 0
  const varint = () => {
    let value = 0
    for (let shift = 1;; shift *= 0x80) {
      const byte = bytes[at++]!
      value += (byte & 0x7f) * shift
      if (byte < 0x80) return value
    }
  }
  while (at < bytes.length) {
    const key = varint()
    switch (key & 7) {
      case 0:
        found.push([key >> 3, varint()])
        break
      case 1:
        found.push([key >> 3, view.getFloat64(at, true)])
        at += 8
        break
      case 2: {
        const size = varint()
        found.push([key >> 3, bytes.subarray(at, at += size)])
        break
      }
      case 5:
        found.push([key >> 3, view.getFloat32(at, true)])
        at += 4
    }
  }
  return found
}

const masked = (bytes: Uint8Array) => {
  const crc = crc32c(bytes)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

const events = (bytes: Uint8Array): ReadonlyArray<Event> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const found: Array<Event> = []
  const text = (value: number | Uint8Array | undefined) =>
    value instanceof Uint8Array ? new TextDecoder().decode(value) : undefined
  for (let at = 0; at < bytes.length;) {
    const size = view.getUint32(at, true)
    assert.strictEqual(view.getUint32(at + 4, true), 0)
    assert.strictEqual(view.getUint32(at + 8, true), masked(bytes.subarray(at, at + 8)))
    const data = bytes.subarray(at + 12, at + 12 + size)
    assert.strictEqual(view.getUint32(at + 12 + size, true), masked(data))
    at += size + 16
    const event = new Map(fields(data))
    const summary = event.get(5)
    const session = event.get(7)
    found.push({
      step: (event.get(2) as number | undefined) ?? 0,
      version: text(event.get(3)),
      status: session instanceof Uint8Array ? (fields(session)[0]![1] as number) : undefined,
      values: summary instanceof Uint8Array
        ? Object.fromEntries(
          fields(summary).map(([, value]) => {
            const one = new Map(fields(value as Uint8Array))
            return [text(one.get(1)), one.get(2) as number]
          })
        )
        : {}
    })
  }
  return found
}

const opening = (directory: string, start = 0) => ({ directory, name: "run", start, config: { model_name: "m" } })
const rows = Array.from({ length: 5 }, (_, step) => ({
  step,
  loss: 1 / (step + 1),
  note: "a, \"b\"\nc",
  ...(step > 2 ? { "test/nll": step } : {})
}))

const inDirectory = <A, E>(
  use: (
    directory: string,
    fs: FileSystem.FileSystem
  ) => Effect.Effect<A, E, NodeContext.NodeContext | HttpClient.HttpClient>,
  http: HttpClient.HttpClient = HttpClient.make(() => Effect.die("no network"))
) =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    return yield* use(yield* fs.makeTempDirectoryScoped(), fs)
  })).pipe(Effect.provide(NodeContext.layer), Effect.provideService(HttpClient.HttpClient, http))

describe("MetricSink", () => {
  it.effect("csv: a row for every step, a column for every figure, also for those that come later", () =>
    inDirectory((directory, fs) =>
      Effect.scoped(Effect.gen(function*() {
        const { from, take } = yield* MetricSink.csv().open(opening(directory, 3))
        assert.strictEqual(from, 0)
        yield* take(rows.slice(0, 2))
        yield* take(rows.slice(2))
        const text = yield* fs.readFileString(`${directory}/metrics.csv`)
        const lines = text.trimEnd().split("\n")
        assert.strictEqual(lines[0], "step,loss,note,test/nll")
        assert.strictEqual(lines.length, 6)
        assert.strictEqual(lines[1], "0,1,\"a, \"\"b\"\" c\",")
        assert.strictEqual(lines[5], "4,0.2,\"a, \"\"b\"\" c\",4")
      }))
    ))

  it.effect("tensorboard: checksummed records of events; one that goes on purges what was after its step", () =>
    inDirectory((directory, fs) =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_700_000_000_250)
        yield* Effect.scoped(Effect.gen(function*() {
          const { take } = yield* MetricSink.tensorBoard().open(opening(directory))
          yield* take(rows)
        }))
        yield* TestClock.adjust("10 seconds")
        yield* Effect.scoped(Effect.gen(function*() {
          const { from, take } = yield* MetricSink.tensorBoard().open(opening(directory, 300))
          assert.strictEqual(from, 300)
          yield* take([{ step: 300, loss: 0.125 }])
        }))
        const names = (yield* fs.readDirectory(`${directory}/tensorboard`)).sort()
        assert.deepStrictEqual(names, [
          "events.out.tfevents.1700000000.250.tinkex",
          "events.out.tfevents.1700000010.250.tinkex"
        ])
        const [first, second] = yield* Effect.forEach(names, (name) =>
          Effect.map(fs.readFile(`${directory}/tensorboard/${name}`), (bytes) => events(Uint8Array.from(bytes))))
        assert.deepStrictEqual(
          first!.map(({ version }) =>
            version
          ).slice(0, 2),
          ["brain.Event:2", undefined]
        )
        assert.deepStrictEqual(first!.slice(2).map(({ step }) => step), [0, 1, 2, 3, 4])
        assert.deepStrictEqual(first![2]!.values, { loss: 1 })
        assert.deepStrictEqual(first![6]!.values, { loss: Math.fround(0.2), "test/nll": 4 })
        assert.deepInclude(second![1], { step: 300, status: 1 })
        assert.deepInclude(second![2], { step: 300, values: { loss: 0.125 } })
      })
    ))

  it.effect("trackio: rows are sent again until they are taken, under ids that make them count once", () => {
    const bodies: Array<{ readonly token: string | undefined; readonly logs: ReadonlyArray<Record<string, unknown>> }> =
      []
    const statuses = [503, 200, 200]
    const http = HttpClient.make((request) =>
      Effect.sync(() => {
        assert.strictEqual(request.url, "http://trackio.test/api/bulk_log")
        const body = request.body._tag === "Uint8Array" ? JSON.parse(new TextDecoder().decode(request.body.body)) : {}
        bodies.push({ token: request.headers["x-trackio-write-token"], logs: body.logs })
        const status = statuses.shift() ?? 200
        return HttpClientResponse.fromWeb(request, new Response("{}", { status }))
      })
    )
    const sink = MetricSink.trackio({ url: "http://trackio.test/", project: "p", writeToken: Redacted.make("t") })
    return inDirectory((directory) =>
      Effect.gen(function*() {
        const send = (start: number, some: typeof rows) =>
          Effect.scoped(
            Effect.flatMap(sink.open(opening(directory, start)), ({ from, take }) => Effect.as(take(some), from))
          )
        const fiber = yield* Effect.fork(send(0, rows.slice(0, 3)))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Fiber.join(fiber), 0)
        assert.strictEqual(bodies.length, 2)
        assert.deepStrictEqual(bodies[0], bodies[1])
        assert.strictEqual(bodies[0]!.token, "t")
        assert.deepInclude(bodies[0]!.logs[0], { project: "p", run: "run", step: 0, config: { model_name: "m" } })
        assert.deepStrictEqual(bodies[0]!.logs[1]!["metrics"], { loss: 0.5, note: "a, \"b\"\nc" })
        // gone on with: from where the server was told, or where steps are done again
        assert.strictEqual(yield* send(5, rows.slice(3)), 3)
        assert.strictEqual(yield* send(2, rows.slice(2)), 2)
        assert.deepStrictEqual(bodies[3]!.logs[0]!["log_id"], bodies[1]!.logs[2]!["log_id"])
      }), http)
  })

  it.scopedLive(
    "follow a run without slowing it; a sink that fails is told of and ends nothing",
    () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const directory = yield* fs.makeTempDirectoryScoped()
        let open = 0
        const failing: MetricSink.MetricSink = {
          name: "failing",
          open: () =>
            Effect.succeed({ from: 0, take: () => Effect.fail(new SinkError({ sink: "failing", detail: "full" })) })
        }
        const slow: MetricSink.MetricSink = {
          name: "slow",
          open: ({ start }) =>
            Effect.succeed({
              from: start,
              take: (rows) => Effect.zipRight(Effect.yieldNow(), Effect.sync(() => void (open += rows.length)))
            })
        }
        const train = (total: number) =>
          Effect.scoped(Effect.gen(function*() {
            const run = yield* Run.open(directory, {
              config: { baseModel: "tinkex/nano-random", rank: 2 },
              sinks: [failing, slow, MetricSink.csv(), MetricSink.tensorBoard()]
            })
            const batches = yield* Dataset.fromArray([Datum.fromCompletion([1, 2], [3])], { batchSize: 1 })
            yield* run.train({ batches, total, loss: "cross_entropy", checkpoint: { sampler: false } })
          }))
        yield* train(5)
        assert.strictEqual(open, 5)
        yield* train(8)
        assert.strictEqual(open, 8)
        const lines = (yield* fs.readFileString(`${directory}/metrics.csv`)).trimEnd().split("\n")
        assert.strictEqual(lines.length, 9)
        assert.match(lines[0]!, /^step,epoch,/)
        assert.deepStrictEqual(lines.slice(1).map((line) => line.split(",")[0]), [
          "0",
          "1",
          "2",
          "3",
          "4",
          "5",
          "6",
          "7"
        ])
        assert.strictEqual((yield* fs.readDirectory(`${directory}/tensorboard`)).length, 2)
      }).pipe(Effect.provide(Layer.merge(TestServer.layer({ metrics: false }), NodeContext.layer))),
    60_000
  )
})
