/**
 * What `tinkex auth login` and `logout` do. A key is read from a file or standard input: on the command line everybody could see it.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Credentials from "../../node/credentials.js"
import * as TinkexConfig from "../../TinkexConfig.js"
import { Failed } from "../terminal/failed.js"
import { readInput } from "../terminal/readInput.js"
import { Terminal } from "../terminal/terminal.js"

const told = Effect.mapError(({ detail, source }: Credentials.CredentialError) =>
  new Failed({ message: `${source}: ${detail}` })
)

export const login = (args: { readonly apiKeyFile: string }) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    if (args.apiKeyFile === "-" && process.stdin.isTTY === true) yield* terminal.note("the key, then Ctrl-D:")
    const key = Redacted.make((yield* readInput(args.apiKeyFile, "--api-key-file")).trim())
    // refused here, before it is kept, if it is none of the hosted service
    yield* TinkexConfig.make({ apiKey: key })
    yield* told(Credentials.keep(key))
    yield* terminal.note(`kept in ${Credentials.fileOf()}; tinkex auth status tells whether the service accepts it`)
  })

export const logout = Effect.gen(function*() {
  const terminal = yield* Terminal
  const there = yield* told(Credentials.forget())
  yield* terminal.note(there ? "forgotten" : "no key was kept")
})
