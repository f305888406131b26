/**
 * Files that are there as a whole or not at all.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Failed } from "./failed.js"

/**
 * Writes beside the target, then renames; what was there stays until then. What is no plain file, as a fifo or a device, is
 * written to as it is; a link stays one, and what it leads to is replaced; the mode of a file that was there is kept.
 */
export const writeWhole = <E, R>(target: string, bytes: Stream.Stream<Uint8Array, E, R>) =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const paths = yield* Path.Path
    const failed = Effect.mapError((error: Error) =>
      new Failed({ message: `cannot write ${target}: ${error.message}` })
    )
    const full = paths.resolve(target)
    const there = yield* Effect.option(fs.stat(full))
    if (Option.isSome(there) && there.value.type === "Directory") {
      return yield* new Failed({ message: `cannot write ${target}: it is a directory` })
    }
    // what is below /dev leads to something that others have open
    if (Option.isSome(there) && (there.value.type !== "File" || full.startsWith("/dev/"))) {
      // appending writes without a position, which these do not have
      const file = yield* failed(fs.open(full, { flag: "a" }))
      yield* Stream.runForEach(bytes, (piece) => failed(file.writeAll(piece)))
      return full
    }
    const link = yield* Effect.option(fs.readLink(full))
    const real = Option.isSome(there)
      ? yield* failed(fs.realPath(full))
      : Option.isSome(link)
      ? paths.resolve(paths.dirname(full), link.value)
      : full
    const work = yield* failed(
      fs.makeTempDirectoryScoped({ directory: paths.dirname(real), prefix: ".tinkex-write-" })
    )
    const part = paths.join(work, "file")
    yield* Effect.scoped(Effect.gen(function*() {
      const file = yield* failed(fs.open(part, { flag: "wx" }))
      yield* Stream.runForEach(bytes, (piece) => failed(file.writeAll(piece)))
      yield* failed(file.sync)
    }))
    if (Option.isSome(there)) yield* failed(fs.chmod(part, there.value.mode & 0o7777))
    yield* failed(fs.rename(part, real))
    return full
  }))
