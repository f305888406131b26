/**
 * One server per data directory: two would clear away each other's drafts.
 *
 * @internal
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    return typeof cause === "object" && cause !== null && "code" in cause && cause.code === "EPERM"
  }
}

/**
 * Holds the directory until the scope closes; gives the id of the process that holds it if that is another one. What a
 * process left that was killed is taken over.
 *
 * @internal
 */
export const hold = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.join(directory, "server.pid")
  const holder = yield* Effect.map(
    Effect.option(fs.readFileString(file)),
    (text) => text._tag === "Some" ? Number(text.value) : Number.NaN
  )
  if (Number.isSafeInteger(holder) && holder > 0 && holder !== process.pid && isAlive(holder)) return holder
  yield* Effect.acquireRelease(
    fs.writeFileString(file, String(process.pid)),
    () => Effect.ignore(fs.remove(file))
  )
  return undefined
})
