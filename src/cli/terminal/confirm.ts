/**
 * Asks before something is lost.
 */
import * as PlatformTerminal from "@effect/platform/Terminal"
import * as Effect from "effect/Effect"
import { Failed } from "./failed.js"
import { Terminal } from "./terminal.js"

export const confirm = (question: string) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    if (process.stdin.isTTY !== true) {
      return yield* new Failed({ message: `${question} Nobody can be asked here: add --yes to say so` })
    }
    const input = yield* PlatformTerminal.Terminal
    yield* terminal.note(`${question} [y/N]`)
    const answer = yield* Effect.catchTag(input.readLine, "QuitException", () => Effect.interrupt)
    if (!/^y(es)?$/i.test(answer.trim())) return yield* new Failed({ message: "nothing was done" })
  })
