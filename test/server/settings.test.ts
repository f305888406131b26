import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Net from "node:net"
import { Engine } from "../../src/engine/Engine.js"
import * as NodeServer from "../../src/server/NodeServer.js"
import type * as ServerConfig from "../../src/server/ServerConfig.js"
import * as RecordingEngine from "./fixtures/recordingEngine.js"

type Options = ServerConfig.Options & NodeServer.ListenOptions

/** Starts and ends a server; gives what it logged. */
const start = (options: Options) =>
  Effect.suspend(() => {
    const log: Array<string> = []
    const logger = Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => void log.push(String(message))))
    return NodeServer.layer(options).pipe(
      Layer.provide(logger),
      Layer.provide(Layer.succeed(Engine, RecordingEngine.make().service)),
      Layer.build,
      Effect.scoped,
      Effect.as(log)
    )
  })

const taken = Effect.acquireRelease(
  Effect.promise(() =>
    new Promise<Net.Server>((resolve) => {
      const server = Net.createServer().listen(0, "127.0.0.1", () => resolve(server))
    })
  ),
  (server) => Effect.sync(() => server.close())
)

describe("settings of the server", () => {
  const wrong: Readonly<Record<string, readonly [Options, string]>> = {
    "an empty key": [{ apiKey: Redacted.make("") }, "apiKey: expected a key of printable characters, got an empty one"],
    "a blank key": [{ apiKey: Redacted.make("  ") }, "an empty one"],
    "a key that no header can carry": [{ apiKey: Redacted.make("a\nb") }, "got another text"],
    "port 70000": [{ port: 70_000 }, "port: expected a whole number from 0 to 65535, got 70000"],
    "port -1": [{ port: -1 }, "got -1"],
    "half a port": [{ port: 0.5 }, "got 0.5"],
    "no host": [{ host: "" }, "host: expected an address of this machine"],
    "an origin with a path": [{ cors: ["http://localhost:5173/"] }, "cors: expected the origin of a page"],
    "a word for an origin": [{ cors: ["localhost"] }, "got localhost"],
    "a public URL without a scheme": [{ publicUrl: "host/path" }, "publicUrl"],
    "a duration that is none": [{ longPoll: "soon" as never }, "longPoll: expected a duration"],
    "a limit of nothing": [{ limits: { sessions: 0 } }, "limits.sessions: expected a whole number from 1, got 0"],
    "a limit that is no number": [{ limits: { bodyBytes: Number.NaN } }, "got NaN"],
    "an unknown name": [{ data_dir: "x" } as never, "dataDir"],
    "an unknown limit": [{ limits: { session: 1 } as never }, "limits.session"]
  }
  for (const [name, [options, says]] of Object.entries(wrong)) {
    it.effect(`${name} is refused before anything is started`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(start(options))
        assert.strictEqual(error._tag, "SettingError")
        assert.include(error.message, says)
      }))
  }

  it.scopedLive("where it cannot listen is told with what the system said", () =>
    Effect.gen(function*() {
      const address = (yield* taken).address() as Net.AddressInfo
      const busy = yield* Effect.flip(start({ port: address.port }))
      assert.strictEqual(busy._tag, "ListenError")
      assert.include(busy.message, `port ${address.port} of 127.0.0.1 is taken`)
      assert.include(busy.message, "EADDRINUSE")
      const foreign = yield* Effect.flip(start({ host: "203.0.113.7" }))
      assert.include(foreign.message, "203.0.113.7 is no address of this machine (EADDRNOTAVAIL)")
    }))

  it.scopedLive("it warns when other machines can reach it and it asks for no key", () =>
    Effect.gen(function*() {
      const open = yield* start({ host: "0.0.0.0" })
      assert.lengthOf(open, 1)
      assert.include(open[0], "asks for no key")
      for (const options of [{}, { host: "localhost" }, { host: "0.0.0.0", apiKey: Redacted.make("tml-x") }]) {
        assert.deepStrictEqual(yield* start(options), [])
      }
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(start({ cors: ["*", "http://localhost:5173"] }))))
    }))
})
