/**
 * What a command reads: a file, or standard input where the name is `-`.
 */
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { Failed } from "./failed.js"

/** The text of a file, without a byte order mark. `option` is what the file was named by, for messages. */
export const readInput = (file: string, option: string): Effect.Effect<string, Failed, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => {
    const read: Effect.Effect<string, Error> = file === "-"
      ? NodeStream.toString(() => process.stdin, { onFailure: () => new Error("standard input could not be read") })
      : fs.readFileString(file)
    return Effect.mapBoth(read, {
      onFailure: ({ message }) => new Failed({ message: `${option}: ${message}` }),
      onSuccess: (text) => text.replace(/^\ufeff/, "")
    })
  })
