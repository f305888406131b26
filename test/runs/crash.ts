/** Lives of a program that end as by SIGKILL: from one moment on nothing more reaches the disk or the network. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as PlatformError from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import { Deferred, Effect, Layer, Option, type Scope } from "effect"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import * as DirectoryLock from "../../src/runs/DirectoryLock.js"
import type * as Run from "../../src/runs/Run.js"
import { TestServer } from "../../src/testing/index.js"
import * as Tinkex from "../../src/Tinkex.js"
import * as Tokenizers from "../../src/tokenizer/Tokenizers.js"

/** The moment: at the n-th write to a file (before it, in the middle of it, after it), or after the n-th answer. */
export type Death =
  | { readonly at: "write"; readonly n: number; readonly how: "before" | "torn" | "after" }
  | { readonly at: "answer"; readonly n: number }

const dead = (method: string) =>
  new PlatformError.SystemError({
    reason: "Unknown",
    module: "FileSystem",
    method,
    pathOrDescriptor: "",
    description: "dead"
  })

interface Life {
  readonly layer: Layer.Layer<Run.Needs | ServiceClient.ServiceClient, unknown, HttpClient.HttpClient>
  readonly died: Deferred.Deferred<void>
  readonly writes: () => number
  readonly answers: () => number
}

const makeLife = (death: Death | undefined): Effect.Effect<Life> =>
  Effect.gen(function*() {
    const died = yield* Deferred.make<void>()
    let gone = false
    let writes = 0
    let answers = 0
    const die = Effect.suspend(() => {
      gone = true
      return Deferred.succeed(died, undefined)
    })
    const alive = <A, E, R>(method: string, effect: Effect.Effect<A, E, R>) =>
      Effect.suspend((): Effect.Effect<A, E | PlatformError.PlatformError, R> =>
        gone ? Effect.fail(dead(method)) : effect
      )
    const file = (real: FileSystem.File): FileSystem.File => ({
      [FileSystem.FileTypeId]: FileSystem.FileTypeId,
      fd: real.fd,
      stat: real.stat,
      seek: (offset, from) => real.seek(offset, from),
      read: (buffer) => real.read(buffer),
      readAlloc: (size) => real.readAlloc(size),
      write: (buffer) => real.write(buffer),
      sync: alive("sync", real.sync),
      truncate: (length) => alive("truncate", real.truncate(length)),
      writeAll: (bytes) =>
        alive(
          "writeAll",
          Effect.suspend(() => {
            const now = death?.at === "write" && ++writes === death.n
              ? death.how
              : (writes += death?.at === "write" ? 0 : 1, undefined)
            switch (now) {
              case undefined:
                return real.writeAll(bytes)
              case "before":
                return Effect.zipRight(die, Effect.fail(dead("writeAll")))
              case "torn":
                return Effect.zipRight(
                  real.writeAll(bytes.subarray(0, Math.max(1, bytes.length >> 1))),
                  Effect.zipRight(die, Effect.fail(dead("writeAll")))
                )
              case "after":
                return Effect.zipRight(real.writeAll(bytes), die)
            }
          })
        )
    })
    const files = Layer.effect(
      FileSystem.FileSystem,
      Effect.map(FileSystem.FileSystem, (real): FileSystem.FileSystem => ({
        ...real,
        open: (path, options) => alive("open", Effect.map(real.open(path, options), file)),
        rename: (from, to) => alive("rename", real.rename(from, to)),
        remove: (path, options) => alive("remove", real.remove(path, options)),
        copyFile: (from, to) => alive("copyFile", real.copyFile(from, to)),
        writeFileString: (path, text, options) => alive("writeFileString", real.writeFileString(path, text, options)),
        makeDirectory: (path, options) => alive("makeDirectory", real.makeDirectory(path, options))
      }))
    )
    const network = Layer.effect(
      HttpClient.HttpClient,
      Effect.map(HttpClient.HttpClient, (real) =>
        HttpClient.transform(real, (effect, request) => {
          const unreachable = new HttpClientError.RequestError({ request, reason: "Transport", description: "dead" })
          return Effect.suspend(() =>
            gone ? Effect.fail(unreachable) : Effect.tap(effect, () => {
              answers++
              return death?.at === "answer" && answers === death.n
                ? Effect.zipRight(die, Effect.fail(unreachable))
                : Effect.void
            })
          )
        }))
    )
    const layer = ServiceClient.layer({ baseUrl: TestServer.baseUrl, telemetry: false }).pipe(
      Layer.provideMerge(Tinkex.layerShared({ metrics: false, tokenizers: Tokenizers.layer })),
      Layer.provideMerge(network),
      Layer.provideMerge(files),
      Layer.provideMerge(NodeContext.layer)
    )
    return { layer, died, writes: () => writes, answers: () => answers }
  })

/** A lock for one process, which a life that ended has not kept. */
const noLock: DirectoryLock.LockDirectory = () => Effect.void

export interface Outcome<A> {
  /** `None`: it died. */
  readonly value: Option.Option<A>
  readonly writes: number
  readonly answers: number
}

/** Runs a program in a life of its own. */
export const live = <A, E>(
  program: Effect.Effect<A, E, Run.Needs | ServiceClient.ServiceClient | Scope.Scope>,
  death?: Death
): Effect.Effect<Outcome<A>, unknown, HttpClient.HttpClient> =>
  Effect.flatMap(makeLife(death), ({ answers, died, layer, writes }) =>
    Effect.raceFirst(
      Effect.asSome(Effect.scoped(Effect.provide(program, layer))).pipe(
        Effect.catchAll((error) =>
          Effect.flatMap(Deferred.isDone(died), (done) => done ? Effect.succeedNone : Effect.fail(error))
        )
      ),
      Effect.as(Deferred.await(died), Option.none<A>())
    ).pipe(
      Effect.provideService(DirectoryLock.DirectoryLock, noLock),
      Effect.map((value) => ({ value, writes: writes(), answers: answers() }))
    ))
