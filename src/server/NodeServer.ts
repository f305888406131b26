/**
 * The server on a port, with Node's HTTP server.
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as NodePath from "@effect/platform-node/NodePath"
import * as HttpBody from "@effect/platform/HttpBody"
import type { ServeError } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import type * as Net from "node:net"
import type { Engine } from "../engine/Engine.js"
import { isReset } from "./app/faults.js"
import type { CheckpointError } from "./checkpoints/CheckpointError.js"
import { Reached } from "./http/location.js"
import * as Server from "./Server.js"
import type * as ServerConfig from "./ServerConfig.js"

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
): Effect.Effect<Context.Tag.Service<NodeServer>, ServeError, Server.Server | Scope.Scope> =>
  Effect.gen(function*() {
    const server = yield* Server.Server
    const host = options.host ?? "127.0.0.1"
    const node = Http.createServer({ keepAliveTimeout: 65_000 })
    const http = yield* NodeHttpServer.make(() => node, { host, port: options.port ?? 0 })
    const requests = new Set<Http.ServerResponse>()
    node.on("request", (_, response) => {
      requests.add(response)
      response.on("close", () => requests.delete(response))
    })
    yield* Effect.addFinalizer(() => Effect.zipRight(server.drain, close(node, requests)))
    yield* http.serve(
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        const { socket } = NodeHttpServerRequest.toIncomingMessage(request)
        return Effect.provideService(server.app, Reached, reached(socket)).pipe(
          Effect.map((response) => {
            if (isReset(response)) socket.destroy()
            return response.body._tag === "Stream" ? breaking(response, response.body, socket) : response
          })
        )
      })
    )
    const { address } = http
    const port = address._tag === "TcpAddress" ? address.port : 0
    return { host, port, url: urlOf(host, port) }
  })

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
  ServeError | CheckpointError,
  Engine
> =>
  Layer.scoped(NodeServer, make(options)).pipe(
    Layer.provideMerge(Server.layer(options)),
    Layer.provide(Layer.merge(NodeFileSystem.layer, NodePath.layer))
  )
