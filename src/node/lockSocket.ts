/**
 * The socket of one who owns or wants a directory: it says which to everybody who connects.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs/promises"
import * as Net from "node:net"
import * as Os from "node:os"

/**
 * What is known of another one. `Gone`: nobody listens any more. `Unclear`: it went away while it answered.
 *
 * @internal
 */
export type State =
  | { readonly _tag: "Owner" | "Wants"; readonly who: string }
  | { readonly _tag: "Gone" | "Unclear" }

/** @internal */
export interface Claim {
  /** From now on this one owns the directory. */
  readonly own: Effect.Effect<void>
}

const who = `process ${process.pid} on ${Os.hostname()}`

/**
 * Listens at an address until the scope closes. On systems where the address is a file, it gets its name `visible` when it
 * listens, so that nobody who sees the name is refused.
 *
 * @internal
 */
export const listen = (
  address: string,
  visible: string | undefined
): Effect.Effect<Claim, NodeJS.ErrnoException, Scope.Scope> =>
  Effect.gen(function*() {
    let state = "Wants"
    const server = Net.createServer((socket) => {
      socket.on("error", () => {})
      // who asks and stays does not hold up our end
      socket.end(JSON.stringify({ state, who }), () => socket.destroy())
    })
    yield* Effect.acquireRelease(
      Effect.async<void, NodeJS.ErrnoException>((resume) => {
        server.once("error", (cause: NodeJS.ErrnoException) => resume(Effect.fail(cause)))
        // `exclusive`: in a cluster it is this worker's own; anybody may ask
        server.listen({ path: address, exclusive: true, readableAll: true, writableAll: true }, () => {
          server.removeAllListeners("error")
          server.on("error", () => {})
          resume(Effect.void)
        })
      }),
      () =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
        })
    )
    // a lock does not keep a program running
    server.unref()
    if (visible !== undefined) {
      yield* Effect.acquireRelease(
        Effect.tryPromise({
          try: () => Fs.rename(address, visible),
          catch: (cause) => cause as NodeJS.ErrnoException // Node's file system fails with nothing else
        }),
        () => Effect.ignore(Effect.tryPromise(() => Fs.rm(visible, { force: true })))
      )
    }
    return {
      own: Effect.sync(() => {
        state = "Owner"
      })
    }
  })

/** How long a process may take to answer. One that is stopped or busy is there all the same. */
const patience = "2 seconds"

/**
 * Asks the one at an address.
 *
 * @internal
 */
export const ask = (address: string): Effect.Effect<State> =>
  Effect.async<State>((resume) => {
    let text = ""
    const socket = Net.connect(address)
    socket.setEncoding("utf8")
    socket.on("data", (chunk) => text += String(chunk))
    socket.on("error", (cause: NodeJS.ErrnoException) =>
      resume(Effect.succeed(
        cause.code === "ECONNREFUSED" || cause.code === "ENOENT"
          ? { _tag: "Gone" }
          : cause.code === "ECONNRESET" || cause.code === "EPIPE"
          ? { _tag: "Unclear" }
          : { _tag: "Owner", who: `somebody who cannot be asked (${cause.code})` }
      )))
    socket.on("end", () => resume(Effect.succeed(read(text))))
    return Effect.sync(() => socket.destroy())
  }).pipe(
    Effect.timeoutTo({
      duration: patience,
      onSuccess: (state) => state,
      onTimeout: (): State => ({ _tag: "Owner", who: "a process that does not answer" })
    })
  )

const read = (text: string): State => {
  try {
    const { state, who } = JSON.parse(text) as { readonly state?: unknown; readonly who?: unknown }
    return { _tag: state === "Wants" ? "Wants" : "Owner", who: String(who) }
  } catch {
    return { _tag: "Unclear" }
  }
}
