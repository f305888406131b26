import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { execFileSync, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { writeWhole } from "../../../src/cli/terminal/writeFile.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "tinkex-write-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

const write = (target: string, text: string) =>
  Effect.provide(writeWhole(target, Stream.make(new TextEncoder().encode(text))), NodeContext.layer)

describe.skipIf(process.platform === "win32")("writeWhole", () => {
  it.scopedLive("keeps the mode of a file that was there, and leaves nothing beside it", () =>
    Effect.gen(function*() {
      const at = Path.join(yield* folder, "out.txt")
      Fs.writeFileSync(at, "before", { mode: 0o640 })
      Fs.chmodSync(at, 0o640)
      yield* write(at, "after")
      assert.strictEqual(Fs.readFileSync(at, "utf8"), "after")
      assert.strictEqual(Fs.statSync(at).mode & 0o777, 0o640)
      assert.deepStrictEqual(Fs.readdirSync(Path.dirname(at)), ["out.txt"])
    }))

  it.scopedLive("leaves links what they are, also those that lead nowhere yet", () =>
    Effect.gen(function*() {
      const root = yield* folder
      for (const there of [true, false]) {
        const real = Path.join(root, `real-${there}`)
        const link = Path.join(root, `link-${there}`)
        if (there) Fs.writeFileSync(real, "before")
        Fs.symlinkSync(`real-${there}`, link)
        yield* write(link, "after")
        assert.isTrue(Fs.lstatSync(link).isSymbolicLink())
        assert.strictEqual(Fs.readFileSync(real, "utf8"), "after")
      }
    }))

  it.scopedLive("writes through a fifo and to a device", () =>
    Effect.gen(function*() {
      const pipe = Path.join(yield* folder, "pipe")
      execFileSync("mkfifo", [pipe])
      const reader = spawn("cat", [pipe])
      let got = ""
      reader.stdout.on("data", (data) => got += String(data))
      const ended = Effect.async<void>((resume) => void reader.on("close", () => resume(Effect.void)))
      yield* Effect.zipRight(write(pipe, "through"), ended, { concurrent: true })
      assert.strictEqual(got, "through")
      assert.isTrue(Fs.lstatSync(pipe).isFIFO())
      yield* write("/dev/null", "away")
      assert.isTrue(Fs.lstatSync("/dev/null").isCharacterDevice())
    }))

  it.scopedLive("says what is in the way", () =>
    Effect.gen(function*() {
      const root = yield* folder
      assert.match((yield* Effect.flip(write(root, "x"))).message, /it is a directory/)
      assert.match((yield* Effect.flip(write(Path.join(root, "no", "such"), "x"))).message, /cannot write/)
    }))
})
