/**
 * Keys of the hosted service that are kept on this machine, in the official SDK's file (`~/.tinker/credentials.json`, which nobody
 * else can read), or given by a command.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { exec } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"

/** The file or the command cannot be used. `detail` holds no key. */
export class CredentialError extends Data.TaggedError("CredentialError")<{
  readonly source: string
  readonly detail: string
}> {}

interface Stored {
  readonly version: 1
  readonly default?: string
  readonly keys: Readonly<Record<string, { readonly type: string; readonly key: string; readonly name: string }>>
}

export const fileOf = (home: string = Os.homedir()): string => Path.join(home, ".tinker", "credentials.json")

const codeOf = (cause: unknown): string => Predicate.hasProperty(cause, "code") ? String(cause.code) : "unreadable"

const isStored = (u: unknown): u is Stored =>
  Predicate.isReadonlyRecord(u) && u["version"] === 1 && Predicate.isReadonlyRecord(u["keys"]) &&
  Object.values(u["keys"]).every((one) => Predicate.hasProperty(one, "key") && typeof one.key === "string")

const load = (file: string): Effect.Effect<Stored | undefined, CredentialError> =>
  Effect.tryPromise({
    try: () => Fs.readFile(file, "utf8"),
    catch: codeOf
  }).pipe(
    Effect.matchEffect({
      onFailure: (code) =>
        code === "ENOENT"
          ? Effect.succeed(undefined)
          : Effect.fail(new CredentialError({ source: file, detail: `it cannot be read (${code})` })),
      onSuccess: (text) =>
        Effect.flatMap(
          Effect.try({ try: (): unknown => JSON.parse(text), catch: () => undefined }).pipe(
            Effect.orElseSucceed(() => undefined)
          ),
          (json) =>
            isStored(json)
              ? Effect.succeed(json)
              : Effect.fail(
                new CredentialError({ source: file, detail: "it is no list of keys of version 1; log in again" })
              )
        )
    })
  )

/** The key that is kept, if there is one. */
export const stored = (file: string = fileOf()): Effect.Effect<Redacted.Redacted | undefined, CredentialError> =>
  Effect.map(load(file), (found) => {
    if (found === undefined) return undefined
    const id = found.default ?? Object.keys(found.keys)[0]
    const key = id === undefined || !Object.hasOwn(found.keys, id) ? undefined : found.keys[id]?.key
    return key === undefined ? undefined : Redacted.make(key)
  })

const id = "tinkex"

/** Keeps a key as the one to use. Others in the file stay. */
export const keep = (key: Redacted.Redacted, file: string = fileOf()): Effect.Effect<void, CredentialError> =>
  Effect.flatMap(load(file), (found) =>
    Effect.tryPromise({
      try: async () => {
        const next: Stored = {
          version: 1,
          ...found,
          default: id,
          keys: { ...found?.keys, [id]: { type: "manual", key: Redacted.value(key), name: id } }
        }
        await Fs.mkdir(Path.dirname(file), { recursive: true, mode: 0o700 })
        const part = `${file}.${process.pid}.part`
        await Fs.writeFile(part, `${JSON.stringify(next, null, 2)}\n`, { mode: 0o600 })
        await Fs.chmod(part, 0o600)
        await Fs.rename(part, file)
      },
      catch: (cause) => new CredentialError({ source: file, detail: `it cannot be written (${codeOf(cause)})` })
    }))

/** Forgets all keys; whether there was one. */
export const forget = (file: string = fileOf()): Effect.Effect<boolean, CredentialError> =>
  Effect.tryPromise({
    try: () => Fs.rm(file).then(() => true),
    catch: codeOf
  }).pipe(Effect.catchAll((code) =>
    code === "ENOENT"
      ? Effect.succeed(false)
      : Effect.fail(new CredentialError({ source: file, detail: `it cannot be removed (${code})` }))
  ))

/** What a command prints, through the shell. */
export const ofCommand = (command: string): Effect.Effect<Redacted.Redacted, CredentialError> =>
  Effect.async<Redacted.Redacted, CredentialError>((resume) => {
    const child = exec(command, { timeout: 60_000, maxBuffer: 1 << 20 }, (error, stdout) => {
      const key = stdout.trim()
      resume(
        error !== null
          ? Effect.fail(
            new CredentialError({
              source: "TINKER_CREDENTIAL_CMD",
              detail: error.killed === true
                ? "the command took more than a minute"
                : `the command ended with ${error.code}`
            })
          )
          : key === ""
          ? Effect.fail(new CredentialError({ source: "TINKER_CREDENTIAL_CMD", detail: "the command printed nothing" }))
          : Effect.succeed(Redacted.make(key))
      )
    })
    return Effect.sync(() => void child.kill())
  })
