import * as NodeContext from "@effect/platform-node/NodeContext"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, FastCheck as fc, type Scope, Stream } from "effect"
import * as LiveReport from "../../src/runs/LiveReport.js"
import * as Report from "../../src/runs/Report.js"
import { Series } from "../../src/runs/series.js"

const deep = process.env["TINKEX_DEEP"] === "1"

const row = (step: number, total: number) => ({
  step,
  epoch: Math.floor(step / 1000),
  progress: (step + 1) / total,
  learning_rate: 1e-4 * (1 - step / total),
  num_tokens: 4096,
  train_mean_nll: 4 * Math.exp(-step / 2e4) + (step * 7919 % 1000) / 5000,
  "unclipped_grad_l2:mean": 1 + (step * 104_729 % 1000) / 1000,
  "tokens/cumulative/trained": 4096 * (step + 1),
  "cost/cumulative_usd": 0.0018 * (step + 1),
  "time/step": 0.5 + (step % 7) / 100,
  timestamp: "2026-11-30T00:00:00.000Z"
})

const test = (
  name: string,
  body: (
    directory: string,
    fs: FileSystem.FileSystem
  ) => Effect.Effect<void, unknown, NodeContext.NodeContext | Scope.Scope>
) =>
  it.scopedLive(name, () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = `${yield* fs.makeTempDirectoryScoped()}/run`
      yield* fs.makeDirectory(directory)
      yield* body(directory, fs)
    }).pipe(Effect.provide(NodeContext.layer)), 120_000)

const write = (fs: FileSystem.FileSystem, file: string, rows: ReadonlyArray<unknown>) =>
  fs.writeFileString(file, rows.map((one) => `${JSON.stringify(one)}\n`).join(""))

describe("a curve in bounded memory", () => {
  it("keeps mean, least and most of every stretch, whatever its length", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 300 }),
        (values) => {
          const series = new Series(16)
          values.forEach((value, step) => series.add(step, value))
          const { high, low, x, y } = series.curve()
          assert.isAtMost(x.length, 16)
          let width = 1
          while (width * 16 < values.length) width *= 2
          for (let i = 0; i * width < values.length; i++) {
            const part = values.slice(i * width, (i + 1) * width)
            const mean = part.reduce((a, b) => a + b, 0) / part.length
            assert.closeTo(y[i]!, mean, 1e-3 + Math.abs(mean) * 1e-5)
            if (width > 1) {
              assert.closeTo(low![i]!, Math.min(...part), 1e-2)
              assert.closeTo(high![i]!, Math.max(...part), 1e-2)
            }
          }
        }
      ),
      { seed: 1 }
    )
  })
})

describe("Report", () => {
  const steps = deep ? 100_000 : 10_000

  test(
    `a run of ${steps} steps makes a page under 3 MB that asks nothing of the network`,
    (directory, fs) =>
      Effect.gen(function*() {
        const total = steps
        yield* write(fs, `${directory}/metrics.jsonl`, Array.from({ length: total }, (_, step) => row(step, total)))
        yield* write(
          fs,
          `${directory}/timing_spans.jsonl`,
          Array.from({ length: total }, (_, step) => ({
            step,
            start: 1.7e9 + step / 2,
            spans: ["prepare", "journal", "submit", "wait"].map((name, i) => ({
              name,
              duration: 0.1,
              wall_start: i / 10,
              wall_end: (i + 1) / 10
            }))
          }))
        )
        const html = yield* Report.html([directory])
        assert.isBelow(html.length, 3e6)
        // addresses stand in comments and namespaces alone
        const addresses = [...html.matchAll(/(?:src|href|url\()\s*=?\s*["']?(https?:|\/\/)[^"')\s]*/g)].map(([text]) =>
          text
        )
        assert.deepStrictEqual(addresses, [])
        assert.include(html, "default-src 'none'")
        const [shown] = yield* Report.data([directory])
        assert.strictEqual(shown!.steps, total)
        for (const curve of Object.values(shown!.series)) assert.isAtMost(curve.x.length, 1200)
        assert.isAtMost(shown!.timeline.length, 200)
        assert.strictEqual(shown!.timeline.at(-1)!.step, total - 1)
      })
  )

  test(
    "shows checkpoints, where the run was gone on with, samples with their probabilities, the first example and its mask",
    (directory, fs) =>
      Effect.gen(function*() {
        const entry = (n: number, value: unknown) => ["00000000", n, value]
        const saved = (updates: number, path: string) => ({
          t: "saved",
          at: 5,
          updates,
          name: String(updates),
          path,
          kind: "periodic",
          tokens: 1
        })
        yield* write(fs, `${directory}/journal.jsonl`, [
          entry(0, { t: "opened", at: 1, attempt: 1 }),
          entry(1, { t: "model", at: 2, modelId: "a", sessionId: "s", from: null, updates: 0 }),
          entry(2, saved(2, "tinker://a/weights/2")),
          entry(3, { t: "opened", at: 3, attempt: 2 }),
          entry(4, { t: "model", at: 4, modelId: "b", sessionId: "s", from: "tinker://a/weights/2", updates: 2 }),
          entry(5, saved(4, "tinker://b/weights/4")),
          entry(6, { t: "removed", path: "tinker://a/weights/2" })
        ])
        yield* write(fs, `${directory}/metrics.jsonl`, [row(0, 4), row(1, 4), row(2, 4), row(3, 4)])
        yield* fs.writeFileString(
          `${directory}/config.json`,
          JSON.stringify({ model_name: "tinkex/nano", note: "</script><b>" })
        )
        yield* fs.writeFileString(
          `${directory}/first_datum.json`,
          JSON.stringify({ targets: [1, 2, 3], weights: [0, 1, 1] })
        )
        yield* fs.writeFileString(`${directory}/api_health.json`, JSON.stringify({ requests: 7 }))
        yield* fs.makeDirectory(`${directory}/iteration_000003`)
        yield* fs.writeFileString(
          `${directory}/iteration_000003/rollouts.json`,
          JSON.stringify({ groups: [[{ tokens: [1, 2], logprobs: [-1, -2], reward: 0.5 }]] })
        )
        const decode = (tokens: ReadonlyArray<number>) => tokens.map((token) => `<${token}>`).join("")
        const [shown] = yield* Report.data([directory], { decode })
        assert.strictEqual(shown!.attempts, 2)
        assert.deepStrictEqual(shown!.resumes, [{ step: 2, at: 4, from: "tinker://a/weights/2" }])
        assert.deepStrictEqual(shown!.checkpoints.map(({ path, removed }) => [path, removed]), [
          ["tinker://a/weights/2", true],
          ["tinker://b/weights/4", false]
        ])
        assert.deepStrictEqual(shown!.samples, [{ index: 3, pieces: ["<1>", "<2>"], logprobs: [-1, -2], reward: 0.5 }])
        assert.deepStrictEqual(shown!.datum, { pieces: ["<1>", "<2>", "<3>"], weights: [0, 1, 1] })
        assert.deepStrictEqual(shown!.health, [["requests", "7"]])
        assert.strictEqual(shown!.note, "the embedded server costs nothing")
        const html = yield* Report.html([directory], { decode })
        assert.notInclude(html, "</script><b>")
        const data = /<script type="application\/json" id="data">([\s\S]*?)<\/script>/.exec(html)![1]!
        assert.deepStrictEqual(JSON.parse(data)[0].config.note, "</script><b>")
      })
  )

  test(
    "a run of the cookbook, without a journal, is shown too; a directory that is none is refused",
    (directory, fs) =>
      Effect.gen(function*() {
        yield* write(fs, `${directory}/metrics.jsonl`, [row(0, 2), row(1, 2)])
        yield* write(fs, `${directory}/checkpoints.jsonl`, [{
          name: "000001",
          batch: 1,
          epoch: 0,
          state_path: "tinker://x/weights/000001"
        }])
        const [shown] = yield* Report.data([directory])
        assert.deepStrictEqual(shown!.checkpoints.map(({ name, updates }) => [name, updates]), [["000001", 1]])
        assert.deepStrictEqual(shown!.series["train_mean_nll"]!.x, [0, 1])
        const error = yield* Effect.flip(Report.html([`${directory}/nowhere`]))
        assert.include(error.message, "expected the directory of a run")
      })
  )
})

describe("LiveReport", () => {
  test(
    "sends the run as it is, and again when it has changed, also when steps are done again",
    (directory, fs) =>
      Effect.gen(function*() {
        const file = `${directory}/metrics.jsonl`
        yield* write(fs, file, [row(0, 9), row(1, 9)])
        const live = yield* LiveReport.make([directory], { interval: "5 millis" })
        const page = HttpServerResponse.toWeb(yield* live.page)
        assert.include(page.headers.get("content-type"), "text/html")
        assert.include(yield* Effect.promise(() => page.text()), "data-live")
        const events = HttpServerResponse.toWeb(yield* live.events)
        assert.strictEqual(events.headers.get("content-type"), "text/event-stream")
        const reader = Stream.fromReadableStream(() => events.body!, String).pipe(
          Stream.decodeText(),
          Stream.splitLines
        )
        const changes = [
          Effect.void,
          fs.writeFileString(file, `${JSON.stringify(row(2, 9))}\n`, { flag: "a" }),
          // a line that is still being written says nothing yet
          fs.writeFileString(file, JSON.stringify(row(3, 9)).slice(0, 20), { flag: "a" }),
          write(fs, file, [row(0, 9)])
        ]
        const seen: Array<number> = []
        yield* reader.pipe(
          Stream.filter((line) => line.startsWith("data: ")),
          Stream.mapEffect((line) =>
            Effect.gen(function*() {
              seen.push(JSON.parse(line.slice(6))[0].steps)
              const next = changes[seen.length]
              if (next !== undefined) yield* next
              if (seen.length === 2) yield* changes[3]!
            })
          ),
          Stream.take(3),
          Stream.runCollect,
          Effect.map(Chunk.size)
        )
        assert.deepStrictEqual(seen, [2, 3, 1])
      })
  )
})
