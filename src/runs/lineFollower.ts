/** Reads what was appended to a file since it was last asked; begins anew when the file was replaced by a shorter one. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"

export interface LineFollower {
  /** Gives the new lines to a function, and whether it had begun anew. */
  readonly read: (take: (line: string) => void, restart: () => void) => Effect.Effect<boolean>
}

const newline = 10

export const makeFollower = (file: string): Effect.Effect<LineFollower, never, FileSystem.FileSystem> =>
  Effect.map(FileSystem.FileSystem, (fs) => {
    let offset = 0
    const decoder = new TextDecoder()
    const read: LineFollower["read"] = (take, restart) =>
      Effect.scoped(Effect.gen(function*() {
        const handle = yield* fs.open(file, { flag: "r" })
        const { size } = yield* handle.stat
        let changed = false
        if (Number(size) < offset) {
          offset = 0
          changed = true
          restart()
        }
        yield* handle.seek(FileSystem.Size(offset), "start")
        const buffer = new Uint8Array(1 << 18)
        let rest = new Uint8Array()
        while (true) {
          const count = Number(yield* handle.read(buffer))
          if (count === 0) return changed
          const piece = new Uint8Array(rest.length + count)
          piece.set(rest)
          piece.set(buffer.subarray(0, count), rest.length)
          // a line that is still being written is left for the next time
          const end = piece.lastIndexOf(newline) + 1
          if (end > 0) {
            changed = true
            offset += end
            for (const line of decoder.decode(piece.subarray(0, end)).split("\n")) if (line !== "") take(line)
          }
          rest = piece.slice(end)
        }
      })).pipe(
        // a file that is not there yet has nothing to say
        Effect.orElseSucceed(() => false)
      )
    return { read }
  })
