/**
 * One writer at a time in a directory.
 *
 * @since 0.2.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { files, replaceFile } from "./RunDirectory.js"
import { RunInUse, RunStorageError } from "./RunError.js"

/**
 * Holds a directory until the scope closes, or tells that somebody else does.
 *
 * @since 0.2.0
 * @category models
 */
export interface LockDirectory {
  (
    directory: string
  ): Effect.Effect<void, RunInUse | RunStorageError, FileSystem.FileSystem | Path.Path | Scope.Scope>
}

const beatEvery = Duration.seconds(1)
const patience = Duration.seconds(4)
const looks = 16

/**
 * A lock that needs nothing of the platform but files: its holder renews it every second, and one that was not renewed for four
 * seconds is taken over. So whoever comes after a holder that was killed waits that long.
 *
 * @since 0.2.0
 * @category constructors
 */
export const lease: LockDirectory = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const file = (yield* Path.Path).join(directory, files.lock)
  const failing = Effect.mapError((cause: RunStorageError["cause"]) =>
    new RunStorageError({ doing: "write", file, cause })
  )
  // differs over all processes, whatever they were seeded with
  const me = globalThis.crypto.getRandomValues(new Uint32Array(4)).join("-")
  let beat = 0
  const text = () => JSON.stringify({ holder: me, beat: beat++ })
  const read = Effect.orElseSucceed(fs.readFileString(file), () => "")
  const mine = Effect.map(read, (text) => text.includes(me))
  const taken = (text: string) => new RunInUse({ directory, holder: `lock ${text.slice(11, 31)}… is being renewed` })

  const create = fs.writeFileString(file, text(), { flag: "wx" }).pipe(
    Effect.as(true),
    Effect.catchIf(
      (error) => error._tag === "SystemError" && error.reason === "AlreadyExists",
      () => Effect.succeed(false)
    ),
    failing
  )
  if (!(yield* create)) {
    const first = yield* read
    for (let look = 0; look < looks; look++) {
      yield* Effect.sleep(Duration.times(patience, 1 / looks))
      const now = yield* read
      if (now !== first && now !== "") return yield* taken(now)
      if (now === "") break
    }
    yield* replaceFile(file, text())
    // of several who saw it abandoned, the last to write has it
    yield* Effect.sleep(Duration.millis(100))
    if (!(yield* mine)) return yield* taken(yield* read)
  }
  yield* Effect.addFinalizer(() => Effect.flatMap(mine, (held) => held ? Effect.ignore(fs.remove(file)) : Effect.void))
  yield* Effect.forkScoped(Effect.interruptible(
    Effect.forever(Effect.zipRight(Effect.sleep(beatEvery), Effect.ignore(replaceFile(file, text()))))
  ))
})

/**
 * How runs hold their directories. `lease` unless something better is provided that the platform has.
 *
 * @since 0.2.0
 * @category services
 */
export class DirectoryLock extends Context.Reference<DirectoryLock>()("tinkex/DirectoryLock", {
  defaultValue: (): LockDirectory => lease
}) {}
