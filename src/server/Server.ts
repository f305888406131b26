/**
 * The embedded Tinker-compatible server, independent of sockets: an HTTP application over an `Engine`.
 *
 * @since 0.1.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Engine } from "../engine/Engine.js"
import * as App from "./app/app.js"
import * as CountedEngine from "./app/countedEngine.js"
import * as ServerStats from "./app/stats.js"
import type { CheckpointError } from "./checkpoints/CheckpointError.js"
import * as CheckpointStore from "./checkpoints/CheckpointStore.js"
import * as Futures from "./futures/Futures.js"
import * as Tokens from "./http/tokens.js"
import * as Uploads from "./http/uploads.js"
import * as Web from "./http/web.js"
import * as Models from "./runs/Models.js"
import * as Runs from "./runs/Runs.js"
import * as Samplers from "./samplers/Samplers.js"
import * as ServerConfig from "./ServerConfig.js"
import * as Sessions from "./sessions/Sessions.js"

/**
 * What the server holds at the moment.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stats extends ServerStats.Stats {}

/**
 * The server. It works as long as the scope in which it was made is open.
 *
 * @since 0.1.0
 * @category services
 */
export class Server extends Context.Tag("tinkex/Server")<Server, {
  /** The application: every request gets an answer. */
  readonly app: HttpApp.Default
  /** The same as a function on web requests, for any runtime and for tests. Rejects where a connection would break. */
  readonly fetch: (request: Request) => Promise<Response>
  /** A client whose requests go straight to the application, without a socket, whatever host they name. */
  readonly client: HttpClient.HttpClient
  /** Another application, for those only who have the server's key. */
  readonly protect: <R>(guest: HttpApp.Default<never, R>) => HttpApp.Default<never, R>
  /** Whether requests need a key. */
  readonly guarded: boolean
  /** Every route, and whether it answers those who have no key. */
  readonly routes: ReadonlyArray<{ readonly method: string; readonly path: string; readonly open: boolean }>
  /** Makes polls that are being held answer now, so that connections can be closed. */
  readonly drain: Effect.Effect<void>
  readonly stats: Effect.Effect<Stats>
}>() {}

const make = Effect.gen(function*() {
  const futures = yield* Futures.Futures
  const stats = yield* ServerStats.make
  const { app, protect, routes } = yield* App.make(stats, yield* CountedEngine.Work)
  const guarded = (yield* ServerConfig.ServerConfig).apiKey !== undefined
  return { app, protect, guarded, routes, ...(yield* Web.make(app)), drain: futures.release, stats }
})

/**
 * A server over an engine and a file system. `AppliedLog` and `FaultInjector` are taken from the context in which the
 * layer is built.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: ServerConfig.Options = {}
): Layer.Layer<
  Server,
  CheckpointError | ServerConfig.SettingError,
  Engine | FileSystem.FileSystem | Path.Path
> =>
  Layer.scoped(Server, make).pipe(
    Layer.provide(Runs.layer),
    Layer.provide(Samplers.layer),
    Layer.provide(
      Layer.mergeAll(Models.layer, Sessions.layer, Futures.layer, CheckpointStore.layer, Uploads.layer, Tokens.layer)
    ),
    Layer.provide(CountedEngine.layer),
    Layer.provide(ServerConfig.layer(options))
  )
