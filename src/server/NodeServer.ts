/**
 * The server on a port, with Node's HTTP server.
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as NodePath from "@effect/platform-node/NodePath"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import type * as Net from "node:net"
import type { Engine } from "../engine/Engine.js"
import { known } from "../protocol/options.js"
import type { CheckpointError } from "./checkpoints/CheckpointError.js"
import { guarding } from "./http/browsers.js"
import { isReset } from "./http/faults.js"
import { Reached } from "./http/location.js"
import * as Server from "./Server.js"
import * as ServerConfig from "./ServerConfig.js"

/**
 * Where to listen.
 *
 * @since 0.1.0
 * @category models
 */
export interface ListenOptions {
  /** Default `127.0.0.1`: only this machine. */
  readonly host?: string | undefined
  /** Default 0: any free port, see `NodeServer.port`. */
  readonly port?: number | undefined
  /**
   * Names under which the server may be asked. Addresses, names without a dot and `host` need not be told. Other names are
   * refused: a page in a browser could have made one of its own point here.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /**
   * Origins of web pages that may use the server, as `http://localhost:5173`; `*` for all. None unless given: requests of
   * pages are refused.
   */
  readonly cors?: ReadonlyArray<string> | undefined
  /** Another application on the same port, opened before the server listens and closed when its last request has ended. */
  readonly mount?: Effect.Effect<Mounted, never, Server.Server | Scope.Scope> | undefined
}

/**
 * Another application on the port of the server, behind the same key and the same rules for hosts and pages.
 *
 * @since 0.2.0
 * @category models
 */
export interface Mounted {
  /** Whether a path, without its query, is this application's. Paths of the protocol should not be. */
  readonly serves: (path: string) => boolean
  readonly app: HttpApp.Default<never, Scope.Scope>
}

/**
 * The server cannot listen where it was told to.
 *
 * @since 0.2.0
 * @category errors
 */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly host: string
  readonly port: number
  readonly detail: string
  /** What the operating system called it, as `EADDRINUSE`. */
  readonly code?: string | undefined
}> {
  override get message() {
    return this.detail
  }
}

/**
 * Where the server listens.
 *
 * @since 0.1.0
 * @category services
 */
export class NodeServer extends Context.Tag("tinkex/NodeServer")<NodeServer, {
  readonly host: string
  readonly port: number
  /** `http://host:port`, what clients take as their base URL. */
  readonly url: string
}>() {}

/**
 * Listens until the scope closes. Then polls that are held answer at once, requests under way are let finish, and
 * connections are closed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: ListenOptions = {}
): Effect.Effect<
  Context.Tag.Service<NodeServer>,
  ListenError | ServerConfig.SettingError,
  Server.Server | Scope.Scope
> =>
  Effect.gen(function*() {
    const server = yield* Server.Server
    const { host = "127.0.0.1" } = options
    yield* check(options)
    const mounted = options.mount === undefined ? undefined : yield* options.mount
    const node = Http.createServer({ keepAliveTimeout: 65_000 })
    const http = yield* Effect.mapError(
      NodeHttpServer.make(() => node, { host, port: options.port ?? 0 }),
      ({ cause }) => listenError(host, options.port ?? 0, cause)
    )
    const requests = new Set<Http.ServerResponse>()
    node.on("request", (_, response) => {
      requests.add(response)
      response.on("close", () => requests.delete(response))
    })
    yield* Effect.addFinalizer(() => Effect.zipRight(server.drain, close(node, requests)))
    const guarded = guarding({
      hosts: [host, ...options.allowedHosts ?? []],
      origins: options.cors ?? []
    })(mounted === undefined ? server.app : beside(server, mounted))
    yield* http.serve(
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
        return Effect.provideService(guarded, Reached, reached(socket)).pipe(
          Effect.map((response) => {
            if (isReset(response)) socket.destroy()
            return response.body._tag === "Stream" ? breaking(response, response.body, socket) : response
          })
        )
      })
    )
    const { address } = http
    const port = address._tag === "TcpAddress" ? address.port : 0
    const url = urlOf(host, port)
    if (!server.guarded && !isLoopback(host)) {
      yield* Effect.logWarning(
        `${url} can be reached from other machines and asks for no key: everybody there can train, read and delete. Set a key (--api-key), or listen on 127.0.0.1`
      )
    }
    return { host, port, url }
  })

const optionNames = known<ListenOptions>("listening", {
  host: true,
  port: true,
  allowedHosts: true,
  cors: true,
  mount: true
})

/** The server's application with another one beside it. */
const beside = (
  { app, protect }: Context.Tag.Service<Server.Server>,
  mounted: Mounted
): HttpApp.Default<never, Scope.Scope> => {
  const guest = Effect.interruptible(protect(mounted.app))
  return Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ url }) => mounted.serves(url.split("?", 1)[0] ?? url) ? guest : app
  )
}

const check = (options: ListenOptions): Effect.Effect<void, ServerConfig.SettingError> => {
  const refuse = (field: string, expected: string, actual: unknown) =>
    Effect.fail(new ServerConfig.SettingError({ field, expected, actual: String(actual) }))
  const { cors = [], host, port = 0 } = options
  if (host?.trim() === "") return refuse("host", "an address of this machine", "nothing")
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    return refuse("port", "a whole number from 0 to 65535", port)
  }
  const wrong = cors.find((origin) => origin !== "*" && !(URL.canParse(origin) && new URL(origin).origin === origin))
  return wrong === undefined
    ? Effect.void
    : refuse("cors", "the origin of a page, as http://localhost:5173, or *", wrong)
}

const listenError = (host: string, port: number, cause: unknown): ListenError => {
  const { code, message } = cause as NodeJS.ErrnoException // what Node's server fails with
  const told: Readonly<Record<string, string>> = {
    EADDRINUSE: `port ${port} of ${host} is taken by another program. Take another port, or 0 for any free one`,
    EACCES: `port ${port} of ${host} is not for this user. Take one from 1024 up`,
    EADDRNOTAVAIL: `${host} is no address of this machine`,
    ENOTFOUND: `${host} is no address of this machine, and no name of one`,
    EAI_AGAIN: `the name ${host} cannot be resolved now`
  }
  return new ListenError({ host, port, code, detail: `${told[code ?? ""] ?? message} (${code ?? "no code"})` })
}

const isLoopback = (host: string): boolean =>
  host === "localhost" || host.endsWith(".localhost") || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host)

const urlOf = (host: string, port: number): string => `http://${host.includes(":") ? `[${host}]` : host}:${port}`

/** The address at which a connection arrived; an IPv4 address may come in the clothes of an IPv6 one. */
const reached = ({ localAddress, localPort }: Net.Socket): string =>
  urlOf((localAddress ?? "127.0.0.1").replace(/^::ffff:/, ""), localPort ?? 0)

/** A stream that fails breaks its connection, so that nobody takes what came of it for the whole. */
const breaking = (
  response: HttpServerResponse.HttpServerResponse,
  body: HttpBody.Stream,
  socket: Net.Socket
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.setBody(
    response,
    HttpBody.stream(
      Stream.tapErrorCause(body.stream, () => Effect.sync(() => setImmediate(() => socket.destroySoon()))),
      body.contentType,
      body.contentLength
    )
  )

/** How long requests under way may hold up the end. */
const patience = "10 seconds"

/** Takes no more connections, lets the requests under way end, and closes what is then left open. */
const close = (node: Http.Server, requests: ReadonlySet<Http.ServerResponse>): Effect.Effect<void> => {
  const ended = Effect.async<void>((resume) => {
    const check = () => {
      if (requests.size === 0) resume(Effect.void)
    }
    for (const response of requests) response.on("close", check)
    check()
  })
  return Effect.async<void>((resume) => {
    node.close(() => resume(Effect.void))
  }).pipe(
    Effect.zip(
      Effect.zipRight(
        Effect.interruptible(Effect.raceFirst(ended, Effect.sleep(patience))),
        Effect.sync(() => node.closeAllConnections())
      ),
      { concurrent: true }
    ),
    Effect.asVoid
  )
}

/**
 * A server of its own on a port, over an engine and Node's file system.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: ListenOptions & ServerConfig.Options = {}
): Layer.Layer<
  NodeServer | Server.Server,
  ListenError | ServerConfig.SettingError | CheckpointError,
  Engine
> => {
  const listening = optionNames.pick(options)
  const rest = Object.fromEntries(Object.entries(options).filter(([name]) => !Object.hasOwn(optionNames.names, name)))
  return Layer.scoped(NodeServer, make(listening)).pipe(
    Layer.provideMerge(Server.layer(rest)),
    // what cannot be listened on is told before anything is opened
    Layer.provide(Layer.effectDiscard(check(listening))),
    Layer.provide(Layer.merge(NodeFileSystem.layer, NodePath.layer))
  )
}
