/**
 * One owner at a time for a directory, held by the operating system: the lock is a listening socket inside the directory,
 * which ends with the process that listens, however that ends. No id of a process and no time is looked at, so neither a
 * number that is used again nor a clock nor a pause of the owner can mislead it. It holds between processes, between
 * containers that share the directory (process ids are of no account there), and between two owners in one process. It does
 * not hold between machines that share a network file system.
 *
 * Who wants the directory first listens on a socket of its own in `.lock`, under a random name, and only then asks everybody
 * else who is there. A socket that nobody listens on is removed. Who finds an owner gives up. Of several who all still want
 * it, the one whose name comes first waits for the others to give up: each has announced itself before it looked, so no two
 * can overlook one another.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Socket from "./lockSocket.js"

/**
 * Why a directory is not held. `InUse`: somebody else holds it; `owner` says who, as far as it is known. `Failed`: it cannot
 * be locked; `cause` is what the operating system said.
 *
 * @since 0.2.0
 * @category errors
 */
class DirectoryLockError extends Data.TaggedError("DirectoryLockError")<{
  readonly reason: "InUse" | "Failed"
  readonly directory: string
  readonly owner?: string | undefined
  readonly cause?: NodeJS.ErrnoException | undefined
}> {
  override get message() {
    return this.reason === "InUse"
      ? `The directory ${this.directory} is in use by ${this.owner ?? "somebody else"}`
      : `The directory ${this.directory} cannot be locked: ${this.cause?.message}`
  }
}

/**
 * A directory that is held.
 *
 * @since 0.2.0
 * @category models
 */
export interface DirectoryLock {
  /**
   * Whether the directory is still the one that was locked: not when it was removed, or another put in its place. To be
   * asked before something is written.
   */
  readonly intact: Effect.Effect<boolean>
}

/** How often others are asked again, and how long they may take to make up their mind. */
const pause = "20 millis"
const looks = 500

/** What systems say where a file system knows no sockets. */
const unsupported: ReadonlySet<string> = new Set(["EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EPERM", "EINVAL", "EAFNOSUPPORT"])

/**
 * Holds a directory, which must exist, until the scope closes. Fails at once when somebody else holds it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const hold = (directory: string): Effect.Effect<DirectoryLock, DirectoryLockError, Scope.Scope> =>
  Effect.gen(function*() {
    const outer = yield* Effect.scope
    const scope = yield* Scope.fork(outer, ExecutionStrategy.sequential)
    // who gives up is gone at once, others wait for it
    return yield* Scope.extend(acquire(directory), scope).pipe(Effect.onError(() => Scope.close(scope, Exit.void)))
  })

const acquire = (directory: string) =>
  Effect.gen(function*() {
    const failed = (cause: NodeJS.ErrnoException) => new DirectoryLockError({ reason: "Failed", directory, cause })
    const identity = yield* Effect.mapError(identityOf(directory), failed)
    const intact = Effect.match(identityOf(directory), {
      onFailure: () => false,
      onSuccess: (now) => now.dev === identity.dev && now.ino === identity.ino
    })
    if (process.platform === "win32") {
      yield* Effect.mapError(Socket.listen(pipeOf(identity), undefined), (cause) =>
        cause.code === "EADDRINUSE" ? new DirectoryLockError({ reason: "InUse", directory }) : failed(cause))
      return { intact }
    }
    const inside = Path.join(Path.resolve(directory), ".lock")
    // beside the directory where sockets cannot be in it: there it holds for the processes that share this machine's
    const beside = Path.join(Os.tmpdir(), `tinkex-lock-${identity.dev}-${identity.ino}`)
    const mine = yield* announce(inside).pipe(
      Effect.catchIf((cause) =>
        unsupported.has(cause.code ?? ""), () => announce(beside)),
      Effect.mapError(failed)
    )
    const owner = yield* Effect.mapError(Effect.scoped(decide(mine)), failed)
    if (owner !== undefined) return yield* new DirectoryLockError({ reason: "InUse", directory, owner })
    yield* mine.claim.own
    return { intact: Effect.zipWith(intact, isThere(mine), (same, there) => same && there) }
  })

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, NodeJS.ErrnoException> =>
  // Node's file system fails with nothing else
  Effect.tryPromise({ try: run, catch: (cause) => cause as NodeJS.ErrnoException })

const identityOf = (directory: string) =>
  Effect.map(attempt(() => Fs.stat(directory, { bigint: true })), ({ dev, ino }) => ({ dev, ino }))

const pipeOf = (identity: { readonly dev: bigint; readonly ino: bigint }): string =>
  `\\\\.\\pipe\\tinkex-lock-${identity.dev}-${identity.ino}`

/** Somebody who wants a directory. */
interface Announced {
  readonly folder: string
  readonly name: string
  readonly claim: Socket.Claim
}

/** Listens in a folder, under a name that nobody sees before it answers. */
const announce = (folder: string): Effect.Effect<Announced, NodeJS.ErrnoException, Scope.Scope> =>
  Effect.gen(function*() {
    yield* Effect.catchIf(attempt(() => Fs.mkdir(folder)), (cause) => cause.code === "EEXIST", () => Effect.void)
    const name = Crypto.randomBytes(8).toString("hex")
    const outer = yield* Effect.scope
    const claim = yield* Effect.scoped(Effect.flatMap(
      short(folder),
      (way) => Scope.extend(Socket.listen(Path.join(way, `new-${name}`), Path.join(folder, name)), outer)
    ))
    return { folder, name, claim }
  })

/** Longest folder of a socket's address, in bytes: systems take addresses of little more than 100. */
const longest = 80

/** A way to a folder that is short enough. */
const short = (folder: string): Effect.Effect<string, NodeJS.ErrnoException, Scope.Scope> =>
  Buffer.byteLength(folder) <= longest
    ? Effect.succeed(folder)
    : Effect.acquireRelease(
      attempt(async () => {
        const directory = await Fs.mkdtemp(Path.join(Os.tmpdir(), "tx-"))
        await Fs.symlink(folder, Path.join(directory, "l"))
        return Path.join(directory, "l")
      }),
      (link) => Effect.ignore(attempt(() => Fs.rm(Path.dirname(link), { recursive: true, force: true })))
    )

const isThere = (self: Announced): Effect.Effect<boolean> =>
  Effect.match(attempt(() => Fs.lstat(Path.join(self.folder, self.name))), {
    onFailure: () => false,
    onSuccess: (found) => found.isSocket()
  })

/** Who has the directory instead of us; nobody when it is ours. */
const decide = (self: Announced): Effect.Effect<string | undefined, NodeJS.ErrnoException, Scope.Scope> =>
  Effect.gen(function*() {
    const way = yield* short(self.folder)
    for (let look = 0; look < looks; look++) {
      const names = (yield* attempt(() => Fs.readdir(self.folder))).filter((name) => /^[0-9a-f]{16}$/.test(name))
      if (!names.includes(self.name)) return "somebody who removed our claim to it"
      let waiting = false
      for (const name of names) {
        if (name === self.name) continue
        const other = yield* Socket.ask(Path.join(way, name))
        if (other._tag === "Gone") {
          yield* Effect.ignore(attempt(() => Fs.rm(Path.join(self.folder, name), { force: true })))
        } else if (other._tag === "Owner" || (other._tag === "Wants" && name < self.name)) return other.who
        else waiting = true
      }
      if (!waiting) return undefined
      yield* Effect.sleep(pause)
    }
    return "somebody who does not make up his mind"
  })
