/**
 * Runs the gateway until the process is told to end.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpServer from "@effect/platform/HttpServer"
import * as Effect from "effect/Effect"
import type * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Http from "node:http"
import * as Gateway from "../../gateway/Gateway.js"
import * as NodeTinkex from "../../NodeTinkex.js"
import { type Connection } from "../terminal/connect.js"
import { Failed } from "../terminal/failed.js"
import { Terminal } from "../terminal/terminal.js"

interface Args extends Connection {
  readonly host: string
  readonly port: number
  readonly model: Option.Option<HashMap.HashMap<string, string>>
  readonly renderer: Option.Option<string>
  readonly gatewayKey: Option.Option<Redacted.Redacted>
}

const loopback = ["127.0.0.1", "localhost", "[::1]"]

const isLoopback = (host: string): boolean => loopback.includes(host) || host === "::1" || host.startsWith("127.")

export const runGateway = (args: Args) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    if (Option.isSome(args.gatewayKey) && Redacted.value(args.gatewayKey.value) === "") {
      return yield* new Failed({ message: "--gateway-key is empty: leave it out to let everybody in" })
    }
    if (!Number.isInteger(args.port) || args.port < 0 || args.port > 65_535) {
      return yield* new Failed({ message: `--port ${args.port}: a port is a number from 0 to 65535` })
    }
    const own = isLoopback(args.host)
    if (!own && Option.isNone(args.gatewayKey)) {
      yield* terminal.note(
        `warning: everybody who reaches ${args.host} can use this service at your cost; set --gateway-key`
      )
    }
    const listen = Effect.gen(function*() {
      const gateway = yield* Gateway.Gateway
      const http = yield* Effect.mapError(
        NodeHttpServer.make(() => Http.createServer({ keepAliveTimeout: 65_000 }), {
          host: args.host,
          port: args.port
        }),
        ({ cause }) =>
          new Failed({
            message: `cannot listen on ${args.host}:${args.port}: ${
              cause instanceof Error ? cause.message : String(cause)
            }`
          })
      )
      yield* http.serve(gateway.app)
      yield* terminal.print(`listening on ${HttpServer.formatAddress(http.address)}/v1`)
      return yield* Effect.never
    })
    const models = Option.match(args.model, { onNone: () => ({}), onSome: (map) => Object.fromEntries(map) })
    return yield* listen.pipe(
      Effect.scoped,
      Effect.provide(
        Gateway.layer({
          models,
          renderer: Option.getOrUndefined(args.renderer),
          apiKey: Option.getOrUndefined(args.gatewayKey),
          hosts: own ? [...new Set([...loopback, args.host])] : undefined
        }).pipe(
          Layer.provide(
            NodeTinkex.layerConfig({
              baseUrl: Option.getOrUndefined(args.baseUrl),
              apiKey: Option.getOrUndefined(args.apiKey)
            })
          )
        )
      )
    )
  })
