/**
 * Files that are there as a whole or not at all.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Failed } from "./failed.js"

/** Writes beside the target, then renames; what was there stays until then. */
export const writeWhole = <E, R>(target: string, bytes: Stream.Stream<Uint8Array, E, R>) =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const failed = Effect.mapError((error: Error) =>
      new Failed({ message: `cannot write ${target}: ${error.message}` })
    )
    const full = paths.resolve(target)
    const work = yield* failed(
      fs.makeTempDirectoryScoped({ directory: paths.dirname(full), prefix: ".tinkex-write-" })
    )
    const part = paths.join(work, "file")
    yield* Effect.scoped(Effect.gen(function*() {
      const file = yield* failed(fs.open(part, { flag: "wx" }))
      yield* Stream.runForEach(bytes, (piece) => failed(file.writeAll(piece)))
      yield* failed(file.sync)
    }))
    yield* failed(fs.rename(part, full))
    return full
  }))
