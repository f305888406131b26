/**
 * How long the server takes to receive, check and parse a body of 64 MiB of JSON, against a bare server that does no more
 * than collect it: the time must grow with the size and not with its square.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import * as InProcessEngine from "../../src/engine/host/InProcessEngine.js"
import * as NodeServer from "../../src/server/NodeServer.js"
import type { Row } from "./Row.js"

const size = 64 * 2 ** 20
const times = 5

/** A server that collects a body and answers with its length. */
const plain = Effect.acquireRelease(
  Effect.promise(() =>
    new Promise<Http.Server>((resolve) => {
      const server = Http.createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => response.end(String(Buffer.concat(chunks).length)))
      }).listen(0, "127.0.0.1", () => resolve(server))
    })
  ),
  (server) => Effect.sync(() => server.close())
)

const send = (url: string, body: Buffer, chunked: boolean): Promise<number> =>
  new Promise((resolve, reject) => {
    const started = performance.now()
    const headers = {
      "content-type": "application/json",
      ...(chunked ? { "transfer-encoding": "chunked" } : { "content-length": body.length })
    }
    const request = Http.request(`${url}/api/v1/telemetry`, { method: "POST", headers }, (response) => {
      response.resume().on("end", () =>
        response.statusCode === 200
          ? resolve(performance.now() - started)
          : reject(new Error(`the server answered ${response.statusCode}`)))
    })
    request.on("error", reject)
    request.end(body)
  })

const median = (values: ReadonlyArray<number>): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0

const program = Effect.gen(function*() {
  const context = yield* Layer.build(NodeServer.layer().pipe(Layer.provide(InProcessEngine.layer())))
  const { url } = Context.get(context, NodeServer.NodeServer)
  const bare = `http://127.0.0.1:${((yield* plain).address() as AddressInfo).port}`
  const bodyOf = (bytes: number) => Buffer.from(`{"text":"${"x".repeat(bytes - 11)}"}`)
  const body = bodyOf(size)
  const eighth = bodyOf(size / 8)
  return yield* Effect.promise(async () => {
    const took = { bare: [] as Array<number>, whole: [] as Array<number>, chunked: [] as Array<number> }
    const small: Array<number> = []
    for (let i = -1; i < times; i++) {
      const round = [
        await send(bare, body, false),
        await send(url, body, false),
        await send(url, body, true),
        await send(url, eighth, false)
      ] as const
      if (i < 0) continue // the first warms
      took.bare.push(round[0])
      took.whole.push(round[1])
      took.chunked.push(round[2])
      small.push(round[3])
    }
    const base = median(took.bare)
    const rows: ReadonlyArray<Row> = [
      {
        name: "server: body of 64 MiB, of a plain read",
        value: median(took.whole) / base,
        unit: "x",
        target: 4,
        better: "lower"
      },
      { name: "server: the same in chunks", value: median(took.chunked) / base, unit: "x", target: 4, better: "lower" },
      {
        name: "server: body of 64 MiB, of one of 8 MiB",
        value: median(took.whole) / median(small),
        unit: "x",
        target: 16,
        better: "lower"
      },
      { name: "server: body of 64 MiB", value: median(took.whole), unit: "ms", target: null, better: "lower" }
    ]
    return rows
  })
}).pipe(Effect.scoped)

/** @internal */
export const rows = (): Promise<ReadonlyArray<Row>> => Effect.runPromise(program)
