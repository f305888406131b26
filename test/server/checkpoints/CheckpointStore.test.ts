import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import type { RunState } from "../../../src/engine/Engine.js"
import * as CheckpointStore from "../../../src/server/checkpoints/CheckpointStore.js"
import { type Fault, FaultInjector, type FaultPoint } from "../../../src/server/FaultInjector.js"
import * as ServerConfig from "../../../src/server/ServerConfig.js"
import { sized } from "../../support/deep.js"
import { checkpointPath, stateOf } from "../fixtures/checkpoints.js"

const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer)

const directory = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

/** A store over a directory; closing its scope is the end of the process that had it. */
const open = (dataDir: string, decide: (point: FaultPoint) => ReadonlyArray<Fault> = () => []) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(
      CheckpointStore.layer.pipe(
        Layer.provide(Layer.orDie(ServerConfig.layer({ dataDir }))),
        Layer.provide(platform),
        Layer.provide(Layer.succeed(FaultInjector, (point: FaultPoint) => Effect.sync(() => decide(point))))
      ),
      scope
    )
    return { store: Context.get(context, CheckpointStore.CheckpointStore), close: Scope.close(scope, Exit.void) }
  })

const valueOf = (state: RunState) => state.weights[0]!.data[0]

const a = checkpointPath("a")

const extra = 20_000
const kills = sized(100, 20)

describe("CheckpointStore", () => {
  it.scoped("gives back what was saved, weights and optimiser, after a restart", () =>
    Effect.gen(function*() {
      const dataDir = yield* directory
      const { close, store } = yield* open(dataDir)
      const entry = yield* store.save(a, stateOf(3), { userMetadata: { step: "7" }, ttlSeconds: 60 })
      yield* store.saveRun({
        modelId: a.trainingRunId,
        sessionId: "s",
        baseModel: "m",
        loraRank: 4,
        createdAt: 5,
        userMetadata: { renderer_name: "x" }
      })
      yield* close
      const again = yield* open(dataDir)
      assert.deepStrictEqual(yield* again.store.get(a), entry)
      assert.deepStrictEqual(yield* again.store.load(a, { optimizer: true }), stateOf(3))
      assert.deepStrictEqual(yield* again.store.load(a, { optimizer: false }), { ...stateOf(3), optimizer: null })
      assert.deepStrictEqual((yield* again.store.runs).map(({ userMetadata }) => userMetadata), [{
        renderer_name: "x"
      }])
      assert.strictEqual(entry.userMetadata?.["step"], "7")
    }).pipe(Effect.provide(platform)))

  it.scoped("refuses a name that is taken, and overwrites when told to", () =>
    Effect.gen(function*() {
      const { store } = yield* open(yield* directory)
      yield* store.save(a, stateOf(1), {})
      const error = yield* Effect.flip(store.save(a, stateOf(2), {}))
      assert.strictEqual(error.reason, "AlreadyExists")
      assert.strictEqual(valueOf(yield* store.load(a, { optimizer: false })), 1)
      yield* store.save(a, stateOf(2), { overwrite: true })
      assert.strictEqual(valueOf(yield* store.load(a, { optimizer: false })), 2)
      for (const name of ["", ".", "..", "a/b", "-a", ".hidden", "a b", "x".repeat(256), "ü"]) {
        assert.strictEqual((yield* Effect.flip(store.save(checkpointPath(name), stateOf(1), {}))).reason, "BadName")
      }
    }).pipe(Effect.provide(platform)))

  it.scoped("keeps the checkpoint before loadable when any write, flush or rename fails", () =>
    Effect.gen(function*() {
      const dataDir = yield* directory
      let steps: Array<string> = []
      const counted = yield* open(dataDir, ({ step }) => (steps.push(step!), []))
      steps = []
      yield* counted.store.save(a, stateOf(0), {})
      const firstSave = steps.length
      assert.includeMembers(steps, ["directory", "write", "sync", "rename"])
      steps = []
      yield* counted.store.save(a, stateOf(1), { overwrite: true })
      assert.isAbove(firstSave, steps.length)
      const total = steps.length
      yield* counted.close
      let current = 1
      for (let failing = 0; failing < total; failing++) {
        let step = 0
        let armed = false
        const { close, store } = yield* open(dataDir, () => armed && step++ === failing ? [{ _tag: "Fail" }] : [])
        assert.strictEqual(valueOf(yield* store.load(a, { optimizer: true })), current)
        armed = true
        const exit = yield* Effect.exit(store.save(a, stateOf(current + 1), { overwrite: true }))
        armed = false
        // removing the one before may fail without the save failing
        if (Exit.isSuccess(exit)) current++
        assert.strictEqual(valueOf(yield* store.load(a, { optimizer: true })), current, `step ${failing}`)
        yield* close
      }
      assert.isAtMost(current, 3)
      const { store } = yield* open(dataDir)
      assert.deepStrictEqual(yield* store.load(a, { optimizer: true }), stateOf(current))
      assert.strictEqual((yield* store.list).length, 1)
    }).pipe(Effect.provide(platform)))

  it.scoped("leaves nothing of a first save that fails", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const dataDir = yield* directory
      for (let failing = 0; failing < 25; failing++) {
        let step = 0
        let armed = false
        const { close, store } = yield* open(dataDir, () => armed && step++ === failing ? [{ _tag: "Fail" }] : [])
        const path = checkpointPath(`first-${failing}`)
        armed = true
        const exit = yield* Effect.exit(store.save(path, stateOf(1), {}))
        armed = false
        assert.strictEqual((yield* Effect.exit(store.load(path, { optimizer: true })))._tag, exit._tag)
        yield* close
        const again = yield* open(dataDir)
        assert.strictEqual((yield* Effect.exit(again.store.load(path, { optimizer: true })))._tag, exit._tag)
        yield* again.close
      }
      assert.deepStrictEqual(yield* fs.readDirectory(`${dataDir}/tmp`), [])
    }).pipe(Effect.provide(platform)))

  it.scoped("ignores drafts and unfinished directories when it starts", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const dataDir = yield* directory
      const first = yield* open(dataDir)
      yield* first.store.save(a, stateOf(1), {})
      yield* first.close
      const [run] = yield* fs.readDirectory(path.join(dataDir, "checkpoints"))
      const name = path.join(dataDir, "checkpoints", run!, "weights", "a")
      yield* fs.copy(path.join(name, "1"), path.join(name, "2"))
      yield* fs.remove(path.join(name, "2", "checkpoint_complete"))
      yield* fs.makeDirectory(path.join(dataDir, "tmp", "draft"), { recursive: true })
      const { store } = yield* open(dataDir)
      assert.strictEqual(valueOf(yield* store.load(a, { optimizer: false })), 1)
      assert.deepStrictEqual(yield* fs.readDirectory(name), ["1"])
    }).pipe(Effect.provide(platform)))

  it.scoped("tells a damaged file from a whole one", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const dataDir = yield* directory
      const { store } = yield* open(dataDir)
      yield* store.save(a, stateOf(1), {})
      const [run] = yield* fs.readDirectory(path.join(dataDir, "checkpoints"))
      const file = path.join(dataDir, "checkpoints", run!, "weights", "a", "1", "adapter_model.safetensors")
      const bytes = yield* fs.readFile(file)
      bytes[bytes.length - 1]! ^= 1
      yield* fs.writeFile(file, bytes)
      const error = yield* Effect.flip(store.load(a, { optimizer: false }))
      assert.strictEqual(error.reason, "Damaged")
      assert.include(error.message, "checksum")
    }).pipe(Effect.provide(platform)))

  it.scoped("forgets what has expired, and lets its name be used again", () =>
    Effect.gen(function*() {
      const { store } = yield* open(yield* directory)
      yield* store.save(a, stateOf(1), { ttlSeconds: 10 })
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual((yield* store.list).length, 1)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* Effect.flip(store.get(a))).reason, "NotFound")
      assert.deepStrictEqual(yield* store.list, [])
      yield* store.save(a, stateOf(2), {})
      yield* store.update(a, { expiresAt: 100_000, public: true })
      assert.deepInclude(yield* store.get(a), { expiresAt: 100_000, public: true })
      yield* store.update(a, { expiresAt: undefined })
      yield* TestClock.adjust("200 seconds")
      assert.strictEqual(valueOf(yield* store.load(a, { optimizer: false })), 2)
      yield* store.remove(a)
      assert.strictEqual((yield* Effect.flip(store.load(a, { optimizer: false }))).reason, "NotFound")
    }).pipe(Effect.provide(platform)))

  it.scopedLive("serves one server per directory, and lets the next one in when it ends", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const dataDir = yield* directory
      // the id of a process says nothing: this one is alive, and has never had the directory
      yield* fs.writeFileString(`${dataDir}/server.pid`, String(process.ppid))
      const first = yield* open(dataDir)
      const error = yield* Effect.flip(open(dataDir))
      assert.strictEqual(error.reason, "InUse")
      assert.include(error.message, `in use by process ${process.pid}`)
      yield* first.store.save(a, stateOf(1), {})
      yield* first.close
      const { store } = yield* open(dataDir)
      assert.strictEqual(valueOf(yield* store.load(a, { optimizer: false })), 1)
      assert.strictEqual((yield* Effect.flip(open(dataDir))).reason, "InUse")
    }).pipe(Effect.provide(platform)))

  it.scopedLive("writes nothing into a directory that took the place of its own", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const dataDir = `${yield* directory}/data`
      const first = yield* open(dataDir)
      yield* first.store.save(a, stateOf(1), {})
      yield* fs.rename(dataDir, `${dataDir}-moved`)
      const second = yield* open(dataDir)
      const error = yield* Effect.flip(first.store.save(checkpointPath("b"), stateOf(2), {}))
      assert.include(error.message, "replaced")
      assert.include((yield* Effect.flip(first.store.remove(a))).message, "replaced")
      yield* second.store.save(a, stateOf(3), {})
      assert.strictEqual(valueOf(yield* second.store.load(a, { optimizer: false })), 3)
    }).pipe(Effect.provide(platform)))

  it.scopedLive(
    `has a loadable checkpoint after SIGKILL at ${kills} random points of a save`,
    () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const program = yield* bundle
        const lane = Effect.gen(function*() {
          const dataDir = yield* directory
          const first = yield* open(dataDir)
          yield* first.store.save(a, stateOf(0, extra), {})
          yield* first.close
          let last = 0
          let midway = 0
          for (let killed = 0; killed < kills / 4; killed++) {
            const child = yield* startSaver(program, dataDir, last + 1)
            // a save takes some milliseconds: kills fall into all of its steps, and between saves
            yield* Effect.sleep(yield* Random.nextRange(0, 12))
            const reported = Math.max(last, yield* child.kill)
            if ((yield* fs.readDirectory(`${dataDir}/tmp`)).length > 0) midway++
            const { close, store } = yield* open(dataDir)
            const found = valueOf(yield* store.load(a, { optimizer: true }))!
            // the last one that was reported, or the one that was under way
            assert.include([reported, reported + 1], found)
            assert.deepStrictEqual(yield* store.load(a, { optimizer: true }), stateOf(found, extra))
            last = found
            yield* close
          }
          return midway
        })
        const midway = yield* Effect.all([lane, lane, lane, lane], { concurrency: "unbounded" })
        assert.isAbove(Math.max(...midway), 0, "no kill hit a save")
      }).pipe(Effect.provide(platform), Effect.withRandom(Random.make("kill"))),
    120_000
  )
})

/** The saving program as one file, which starts faster than a hundred. The bundler is the one that tsx brings. */
const bundle = Effect.flatMap(directory, (folder) =>
  Effect.sync(() => {
    const require = createRequire(import.meta.url)
    const esbuild: { readonly buildSync: (options: object) => void } = createRequire(require.resolve("tsx"))("esbuild")
    const outfile = `${folder}/saver.cjs`
    esbuild.buildSync({
      entryPoints: [fileURLToPath(new URL("../fixtures/saver.ts", import.meta.url))],
      bundle: true,
      platform: "node",
      format: "cjs",
      outfile,
      logLevel: "error"
    })
    return outfile
  }))

/** A process that saves and saves, and tells the number of each save that it finished. Answers when it has begun. */
const startSaver = (program: string, dataDir: string, from: number) =>
  Effect.promise(async () => {
    const child = spawn(process.execPath, [program, dataDir, String(from)], { stdio: ["ignore", "pipe", "inherit"] })
    const closed = once(child, "close")
    let text = ""
    await new Promise<void>((resolve) =>
      child.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString()
        resolve()
      })
    )
    return {
      /** Kills it and gives the number of its last finished save, 0 if it finished none. */
      kill: Effect.promise(async () => {
        child.kill("SIGKILL")
        await closed
        return Number(text.split("\n").at(-2)?.replace("ready", "0") ?? 0)
      })
    }
  })
