import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import type { CheckpointError } from "../../../src/server/checkpoints/CheckpointError.js"
import * as CheckpointStore from "../../../src/server/checkpoints/CheckpointStore.js"
import * as ServerConfig from "../../../src/server/ServerConfig.js"
import { checkpointPath, stateOf } from "../fixtures/checkpoints.js"
import { until } from "../fixtures/harness.js"

const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer)
const a = checkpointPath("a")
const directory = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

/** A life of a server over a directory, and what it logged. */
const live = <A, E>(
  dataDir: string,
  use: (store: typeof CheckpointStore.CheckpointStore.Service) => Effect.Effect<A, E>
) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const log: Array<string> = []
    const logger = Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ message }) => void log.push(String(message)))
    )
    const context = yield* Layer.buildWithScope(
      CheckpointStore.layer.pipe(
        Layer.provide(ServerConfig.layer({ dataDir })),
        Layer.provide(platform),
        Layer.provide(logger)
      ),
      scope
    )
    const value = yield* use(Context.get(context, CheckpointStore.CheckpointStore))
    yield* Scope.close(scope, Exit.void)
    return { value, log: log.join("\n") }
  })

const folder = (dataDir: string) => `${dataDir}/checkpoints/${encodeURIComponent(a.trainingRunId)}/weights/a`

/** Everything below a directory, with its bytes. */
const contents = (dir: string): Effect.Effect<ReadonlyArray<readonly [string, string]>, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const names = (yield* fs.readDirectory(dir, { recursive: true })).sort()
    const all = yield* Effect.forEach(names, (name) =>
      Effect.gen(function*() {
        const { type } = yield* fs.stat(`${dir}/${name}`)
        return type === "File"
          ? [[name, Buffer.from(yield* fs.readFile(`${dir}/${name}`)).toString("hex")] as const]
          : []
      }))
    return all.flat()
  }).pipe(Effect.orDie)

const saved = Effect.gen(function*() {
  const dataDir = yield* directory
  yield* live(dataDir, (store) => store.save(a, stateOf(1), { ttlSeconds: 1000 }))
  return dataDir
})

type Damage = (at: string) => Effect.Effect<unknown, unknown, FileSystem.FileSystem>

const edit = (file: string, change: (text: string) => string): Damage => (at) =>
  Effect.flatMap(
    FileSystem.FileSystem,
    (fs) =>
      Effect.flatMap(fs.readFileString(`${at}/${file}`), (text) => fs.writeFileString(`${at}/${file}`, change(text)))
  )

const instead =
  (file: string, make: (path: string) => Effect.Effect<unknown, unknown, FileSystem.FileSystem>): Damage => (at) =>
    Effect.flatMap(
      FileSystem.FileSystem,
      (fs) => Effect.zipRight(fs.remove(`${at}/${file}`), make(`${at}/${file}`))
    )

const asDirectory = (path: string) => Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeDirectory(path))
const nothing = () => Effect.void

const damages: Readonly<Record<string, { readonly damage: Damage; readonly says: string }>> = {
  "a flipped bit": {
    damage: edit("metadata.json", (text) => text.replace("\"rank\":8", "\"rank\":9")),
    says: "does not match its checksum"
  },
  "text that is no JSON": { damage: edit("metadata.json", () => "{"), says: "does not match its checksum" },
  "a newer format": {
    damage: (at) =>
      Effect.zipRight(
        edit("metadata.json", (text) => text.replace("\"version\":1", "\"version\":2"))(at),
        edit("checkpoint_complete", () => "")(at)
      ),
    says: "format 2"
  },
  "another checkpoint's metadata": {
    damage: (at) =>
      Effect.zipRight(
        edit("metadata.json", (text) => text.replace("\"name\":\"a\"", "\"name\":\"b\""))(at),
        edit("checkpoint_complete", () => "")(at)
      ),
    says: "another checkpoint"
  },
  "a directory for metadata": { damage: instead("metadata.json", asDirectory), says: "EISDIR" },
  "no metadata": { damage: instead("metadata.json", nothing), says: "ENOENT" },
  "an unreadable mark": { damage: instead("checkpoint_complete", asDirectory), says: "EISDIR" }
}

describe("recovery", () => {
  for (const [name, { damage, says }] of Object.entries(damages)) {
    it.scoped(`deletes nothing when it finds ${name}, and says so`, () =>
      Effect.gen(function*() {
        const dataDir = yield* saved
        yield* damage(`${folder(dataDir)}/1`)
        const before = yield* contents(dataDir)
        const { log, value: [error, list, taken, removal] } = yield* live(dataDir, (store) =>
          Effect.all([
            Effect.flip(store.load(a, { optimizer: true })),
            store.list,
            Effect.flip(store.save(a, stateOf(2), {})),
            Effect.flip(store.remove(a))
          ]))
        assert.strictEqual(error.reason, "Damaged")
        assert.include(error.message, says)
        assert.include(error.message, folder(dataDir))
        assert.deepStrictEqual(list, [])
        assert.strictEqual(taken.reason, "AlreadyExists")
        assert.strictEqual(removal.reason, "Damaged")
        assert.include(log, "is not offered")
        assert.include(log, says)
        assert.deepStrictEqual(yield* contents(dataDir), before)
        // whoever wants its name saves beside it, and both stay
        yield* live(dataDir, (store) => store.save(a, stateOf(2), { overwrite: true }))
        const { log: later, value } = yield* live(dataDir, (store) => store.load(a, { optimizer: true }))
        assert.deepStrictEqual(value, stateOf(2))
        assert.include(later, "an earlier state")
        assert.includeDeepMembers([...(yield* contents(dataDir))], [...before])
        // nor does deleting the new one touch the old one
        yield* live(dataDir, (store) => store.remove(a))
        assert.deepStrictEqual(yield* contents(dataDir), before)
      }).pipe(Effect.provide(platform)))
  }

  it.scoped("puts what was never finished into quarantine", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const dataDir = yield* saved
      yield* fs.remove(`${folder(dataDir)}/1/checkpoint_complete`)
      const before = (yield* contents(folder(dataDir))).map(([, bytes]) => bytes)
      const { log, value } = yield* live(dataDir, (store) => Effect.flip(store.load(a, { optimizer: true })))
      assert.strictEqual(value.reason, "NotFound")
      assert.include(log, "quarantine")
      assert.deepStrictEqual((yield* contents(`${dataDir}/quarantine`)).map(([, bytes]) => bytes), before)
      // a second one of the same name does not take the place of the first
      yield* live(dataDir, (store) => store.save(a, stateOf(2), {}))
      yield* fs.remove(`${folder(dataDir)}/1/checkpoint_complete`)
      yield* live(dataDir, () => Effect.void)
      assert.lengthOf(yield* contents(`${dataDir}/quarantine`), 2 * before.length)
    }).pipe(Effect.provide(platform)))

  it.scoped("never lets damaged settings delete a checkpoint", () =>
    Effect.gen(function*() {
      const dataDir = yield* saved
      yield* edit("settings.json", (text) => text.replace("\"expiresAt\":1000000", "\"expiresAt\":1"))(
        `${folder(dataDir)}/1`
      )
      yield* TestClock.adjust("2 hours")
      const { log, value } = yield* live(dataDir, (store) =>
        Effect.zipRight(TestClock.adjust("2 minutes"), store.load(a, { optimizer: true })))
      assert.deepStrictEqual(value, stateOf(1))
      assert.include(log, "settings.json")
    }).pipe(Effect.provide(platform)))

  it.scoped("leaves alone what it did not write", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const dataDir = yield* saved
      const foreign = [
        "tmp/mine/notes.txt",
        "spool/print.job",
        "checkpoints/readme",
        "checkpoints/r/other/x",
        "checkpoints/r/weights/x/notes.txt",
        "checkpoints/%/weights/x/1/checkpoint_complete",
        "runs/notes.txt",
        "something/else"
      ].map((name) => `${dataDir}/${name}`)
      for (const file of foreign) {
        yield* fs.makeDirectory(file.slice(0, file.lastIndexOf("/")), { recursive: true })
        yield* fs.writeFileString(file, "mine")
      }
      yield* fs.makeDirectory(`${dataDir}/tmp/1700000000000-3`)
      const { value } = yield* live(dataDir, (store) => store.list)
      assert.lengthOf(value, 1)
      for (const file of foreign) assert.isTrue(yield* fs.exists(file), file)
      assert.isFalse(yield* fs.exists(`${dataDir}/tmp/1700000000000-3`))
    }).pipe(Effect.provide(platform)))

  it.scoped("finds what 0.1.0 wrote: a mark without a checksum, dots in names written out", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const dataDir = yield* directory
      const dotted = checkpointPath("v1.0")
      yield* live(dataDir, (store) => store.save(dotted, stateOf(1), {}))
      const at = folder(dataDir).replace(/a$/, "v1.0")
      yield* edit("checkpoint_complete", () => "")(`${at}/1`)
      yield* edit("settings.json", () => "{\"public\":true,\"expiresAt\":null}")(`${at}/1`)
      yield* fs.rename(at, at.replace("v1.0", "v1%2E0"))
      const { value } = yield* live(dataDir, (store) => store.get(dotted))
      assert.isTrue(value.public)
      yield* live(dataDir, (store) => store.save(dotted, stateOf(2), { overwrite: true }))
      const { value: state } = yield* live(dataDir, (store) => store.load(dotted, { optimizer: true }))
      assert.deepStrictEqual(state, stateOf(2))
      const longest = checkpointPath(`a${".b".repeat(127)}`)
      yield* live(dataDir, (store) => store.save(longest, stateOf(3), {}))
    }).pipe(Effect.provide(platform)))

  it.scoped("does not forget what could not be deleted, and says what the system said", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const dataDir = yield* saved
      // a rename into a directory that is not there fails as one on a disk that is read-only does
      const { log, value: error } = yield* live(dataDir, (store) =>
        Effect.gen(function*() {
          yield* fs.remove(`${dataDir}/tmp`, { recursive: true })
          const error: CheckpointError = yield* Effect.flip(store.remove(a))
          assert.lengthOf(yield* store.list, 1)
          assert.deepStrictEqual(yield* store.load(a, { optimizer: true }), stateOf(1))
          // nor when its time has come: it is deleted when it can be
          yield* TestClock.adjust("20 minutes")
          assert.isTrue(yield* fs.exists(folder(dataDir)))
          yield* fs.makeDirectory(`${dataDir}/tmp`)
          const gone = Effect.map(Effect.orDie(fs.exists(`${folder(dataDir)}/1`)), (there) => !there)
          yield* until(Effect.zipRight(TestClock.adjust("1 minutes"), gone))
          return error
        }))
      assert.strictEqual(log.split("which has expired: ENOENT").length, 2, log)
      assert.strictEqual(error.reason, "Storage")
      assert.strictEqual(error.code, "ENOENT")
      assert.include(error.message, "ENOENT: no such file or directory")
      assert.notInclude(error.message, dataDir)
      assert.include(error.message, "tinker://")
    }).pipe(Effect.provide(platform)))

  it.effect.skipIf(process.platform !== "linux")(
    "refuses a directory that cannot be one, at once",
    () =>
      Effect.gen(function*() {
        for (
          const [bad, says] of [["/proc/tinkex/x", "ENOENT"], ["/dev/null", "ENOTDIR"], ["/dev/null/x", "ENOTDIR"]]
        ) {
          const error = yield* Effect.flip(live(bad!, () => Effect.void))
          assert.include((error as CheckpointError).message, says!)
          assert.include((error as CheckpointError).message, bad!)
        }
      }).pipe(Effect.provide(platform))
  )
})
