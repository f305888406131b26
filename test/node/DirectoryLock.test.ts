import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as DirectoryLock from "../../src/node/DirectoryLock.js"
import { sized } from "../support/deep.js"

const directory = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "lock-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** Holds it in a scope of its own. */
const hold = (path: string) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const lock = yield* Scope.extend(DirectoryLock.hold(path), scope)
    return { ...lock, release: Scope.close(scope, Exit.void) }
  })

const refusal = (path: string) => Effect.map(Effect.flip(hold(path)), ({ reason }) => reason)

/** The holding program as one file. The bundler is the one that tsx brings. */
const program = Effect.map(directory, (folder) => {
  const require = createRequire(import.meta.url)
  const esbuild: { readonly buildSync: (options: object) => void } = createRequire(require.resolve("tsx"))("esbuild")
  const outfile = join(folder, "holder.cjs")
  const entry = fileURLToPath(new URL("./fixtures/holder.ts", import.meta.url))
  esbuild.buildSync({ entryPoints: [entry], bundle: true, platform: "node", format: "cjs", outfile, logLevel: "error" })
  return outfile
})

const start = (file: string, path: string, wrap: ReadonlyArray<string> = []) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const [command = process.execPath, ...args] = [...wrap, process.execPath, file, path]
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] })
      const [said] = await once(child.stdout, "data")
      return { child, said: String(said).trim() }
    }),
    ({ child }) => kill(child, "SIGKILL")
  )

const kill = (child: ChildProcess, signal: NodeJS.Signals) =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, "close")
    child.kill(signal)
    await closed
  })

/** Whether this machine lets us have a process in name spaces of its own. */
const unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--net"]
const canUnshare = (() => {
  try {
    execFileSync(unshare[0]!, [...unshare.slice(1), "true"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

describe("DirectoryLock", () => {
  it.scopedLive("has one owner at a time in one process, and ends with its scope", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const first = yield* hold(path)
      assert.strictEqual(yield* refusal(path), "InUse")
      // the one who was refused took nothing away
      assert.strictEqual(yield* refusal(path), "InUse")
      assert.isTrue(yield* first.intact)
      yield* first.release
      const second = yield* hold(path)
      assert.strictEqual(yield* refusal(path), "InUse")
      yield* second.release
      assert.deepStrictEqual(Fs.readdirSync(join(path, ".lock")), [])
    }))

  it.scopedLive("is the directory's, by whatever path it is reached, and however long that is", () =>
    Effect.gen(function*() {
      const base = yield* directory
      const path = join(base, "d".repeat(100), "e".repeat(100))
      Fs.mkdirSync(path, { recursive: true })
      Fs.symlinkSync(path, join(base, "link"))
      const before = Fs.readdirSync(tmpdir()).filter((name) => name.startsWith("tx-"))
      const first = yield* hold(path)
      assert.strictEqual(yield* refusal(path), "InUse")
      assert.strictEqual(yield* refusal(join(base, "link")), "InUse")
      assert.isTrue(yield* first.intact)
      yield* first.release
      yield* (yield* hold(join(base, "link"))).release
      assert.deepStrictEqual(Fs.readdirSync(tmpdir()).filter((name) => name.startsWith("tx-")), before)
      assert.strictEqual((yield* Effect.flip(hold(join(base, "nowhere")))).reason, "Failed")
    }))

  it.scopedLive("tells when its directory was replaced", () =>
    Effect.gen(function*() {
      const path = join(yield* directory, "data")
      Fs.mkdirSync(path)
      const first = yield* hold(path)
      Fs.renameSync(path, `${path}-moved`)
      assert.isFalse(yield* first.intact)
      Fs.mkdirSync(path)
      assert.isFalse(yield* first.intact)
      const second = yield* hold(path)
      assert.strictEqual(yield* refusal(`${path}-moved`), "InUse")
      Fs.rmSync(join(path, ".lock"), { recursive: true })
      assert.isFalse(yield* second.intact)
      yield* first.release
      yield* second.release
    }))

  it.scopedLive("takes over what a dead process left, and what is no socket", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const { child, said } = yield* start(yield* program, path)
      assert.strictEqual(said, "held")
      const error = yield* Effect.flip(hold(path))
      assert.include(error.message, `process ${child.pid}`)
      yield* kill(child, "SIGKILL")
      assert.lengthOf(Fs.readdirSync(join(path, ".lock")), 1)
      Fs.writeFileSync(join(path, ".lock", "0".repeat(16)), "copied from somewhere")
      const lock = yield* hold(path)
      assert.lengthOf(Fs.readdirSync(join(path, ".lock")), 1)
      yield* lock.release
    }))

  it.scopedLive("takes a stopped process for one that is there", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const { child } = yield* start(yield* program, path)
      child.kill("SIGSTOP")
      const error = yield* Effect.flip(hold(path))
      assert.strictEqual(error.reason, "InUse")
      assert.include(error.message, "does not answer")
      child.kill("SIGCONT")
    }))

  it.scopedLive.skipIf(!canUnshare)(
    "holds between name spaces of processes and networks",
    () =>
      Effect.gen(function*() {
        const path = yield* directory
        const file = yield* program
        const first = yield* hold(path)
        const { said } = yield* start(file, path, unshare)
        assert.include(said, "refused")
        yield* first.release
        const inside = yield* start(file, path, [...unshare, "--kill-child"])
        assert.strictEqual(inside.said, "held")
        assert.strictEqual(yield* refusal(path), "InUse")
        yield* kill(inside.child, "SIGKILL")
        // `unshare` ends before what it started
        const again = yield* Effect.retry(hold(path), Schedule.spaced("20 millis"))
        yield* again.release
      })
  )

  it.scopedLive("never lets two in, of many who come at once", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const rounds = sized(100, 10)
      for (let round = 0; round < rounds; round++) {
        let inside = 0
        let most = 0
        let held = 0
        yield* Effect.forEach(
          Array.from({ length: 8 }),
          () =>
            Effect.scoped(Effect.gen(function*() {
              yield* DirectoryLock.hold(path)
              held++
              most = Math.max(most, ++inside)
              // longer than all others need to make up their minds
              yield* Effect.sleep("60 millis")
              inside--
            })).pipe(Effect.catchTag("DirectoryLockError", ({ reason }) => {
              assert.strictEqual(reason, "InUse")
              return Effect.void
            })),
          { concurrency: "unbounded", discard: true }
        )
        assert.strictEqual(most, 1)
        assert.isAtLeast(held, 1)
        assert.deepStrictEqual(Fs.readdirSync(join(path, ".lock")), [])
      }
    }), 120_000)

  it.scopedLive("never lets two in, of many processes that are killed at any moment", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const file = yield* program
      for (let round = 0; round < sized(20, 3); round++) {
        const all = yield* Effect.all(Array.from({ length: 4 }, () => start(file, path)), { concurrency: "unbounded" })
        const held = all.filter(({ said }) => said === "held")
        assert.isAtMost(held.length, 1)
        for (const { said } of all) assert.match(said, /^(held|refused)/)
        yield* Effect.forEach(all, ({ child }) => kill(child, "SIGKILL"), { discard: true })
        yield* Effect.scoped(DirectoryLock.hold(path))
      }
    }), 120_000)

  it.scopedLive("survives those who ask and go, and those who ask and stay", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const lock = yield* hold(path)
      const [name] = Fs.readdirSync(join(path, ".lock"))
      for (let i = 0; i < 20; i++) {
        yield* Effect.promise(() =>
          new Promise<void>((resolve) => {
            const socket = Net.connect(join(path, ".lock", name!), () => {
              if (i % 2 === 0) socket.destroy()
              resolve()
            })
            socket.on("error", () => resolve())
          })
        )
      }
      assert.strictEqual(yield* refusal(path), "InUse")
      yield* lock.release
    }))
})
