/** A file that is only appended to: lines of many fibers, in the order of asking, written together when they come together. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { LazyArg } from "effect/Function"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { RunStorageError } from "./RunError.js"

export interface AppendFile {
  /** Hands text in. Never waits for the disk; a failure shows at the next `append`. */
  readonly offer: (text: LazyArg<string>) => Effect.Effect<void>
  /** Done when the text is in the file, and on the disk if the file is a durable one. */
  readonly append: (text: LazyArg<string>) => Effect.Effect<void, RunStorageError>
  /** Done when everything handed in before is on the disk. */
  readonly flush: Effect.Effect<void, RunStorageError>
}

interface Item {
  readonly sync: boolean
  /** Made when it is written: what numbers its lines numbers them in the order of the file. */
  readonly text: LazyArg<string>
  readonly done: Deferred.Deferred<void, RunStorageError> | undefined
}

const most = 4096

/** Opens a file at its end, makes it if it is not there, and writes what is left when the scope closes. */
export const openAppend = (
  file: string,
  options: { readonly durable: boolean }
): Effect.Effect<AppendFile, RunStorageError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const failed = (cause: RunStorageError["cause"]) => new RunStorageError({ doing: "write", file, cause })
    const fs = yield* FileSystem.FileSystem
    const handle = yield* Effect.mapError(fs.open(file, { flag: "a" }), failed)
    const queue = yield* Queue.unbounded<Item>()
    const encoder = new TextEncoder()
    let broken: RunStorageError | undefined
    const write = (items: Iterable<Item>) =>
      Effect.suspend(() => {
        let text = ""
        let sync = options.durable
        for (const item of items) {
          text += item.text()
          sync ||= item.sync
        }
        const written = broken !== undefined
          ? Effect.fail(broken)
          : (text === "" ? Effect.void : handle.writeAll(encoder.encode(text))).pipe(
            Effect.zipRight(sync ? handle.sync : Effect.void),
            Effect.mapError((cause) => broken = failed(cause))
          )
        return Effect.flatMap(Effect.exit(written), (exit) =>
          Effect.sync(() => {
            for (const item of items) {
              if (item.done !== undefined) Deferred.unsafeDone(item.done, exit)
            }
          }))
      })
    const turn = Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(Queue.takeBetween(queue, 1, most)), write)
    )
    const writer = yield* Effect.forkScoped(Effect.interruptible(Effect.forever(turn)))
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(Fiber.interrupt(writer), Effect.flatMap(Queue.takeAll(queue), write))
    )
    const append = (text: LazyArg<string>, sync = false) =>
      Effect.flatMap(Deferred.make<void, RunStorageError>(), (done) =>
        Effect.zipRight(Queue.offer(queue, { text, done, sync }), Deferred.await(done)))
    return {
      offer: (text: LazyArg<string>) =>
        Effect.asVoid(Queue.offer(queue, { text, done: undefined, sync: false })),
      append: (text) => append(text),
      flush: append(() => "", true)
    }
  })
