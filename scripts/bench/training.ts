/**
 * What batching and pipelining save where a round trip costs something: a server of ours behind 20 ms of network, over real
 * sockets.
 */
import { Effect, Layer, Stream } from "effect"
import { createServer, request as httpRequest } from "node:http"
import type { AddressInfo } from "node:net"
import { Batch, Datum, Future, ServiceClient, TrainingLoop } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"
import * as NodeTinkex from "tinkex/NodeTinkex"
import type { Row } from "./Row.js"

const delayMs = 10

/** A proxy that holds requests and answers back for 10 ms each: a round trip of 20 ms. */
const proxy = (target: string) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly close: () => void }>((resume) => {
      const { hostname, port } = new URL(target)
      const server = createServer((incoming, outgoing) => {
        const chunks: Array<Buffer> = []
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
        incoming.on("end", () =>
          setTimeout(() => {
            const onward = httpRequest(
              { hostname, port, path: incoming.url, method: incoming.method, headers: incoming.headers },
              (answer) =>
                setTimeout(() => {
                  outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
                  answer.pipe(outgoing)
                }, delayMs)
            )
            onward.on("error", () => outgoing.destroy())
            onward.end(Buffer.concat(chunks))
          }, delayMs))
      })
      server.listen(0, "127.0.0.1", () => {
        // address() is an AddressInfo once a TCP server listens
        const { port } = server.address() as AddressInfo
        resume(Effect.succeed({
          url: `http://127.0.0.1:${port}`,
          close: () => {
            server.closeAllConnections()
            server.close()
          }
        }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.timed(effect),
    ([duration]) => Number(duration.value._tag === "Nanos" ? duration.value.nanos : 0n) / 1e6
  )

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

const data = Array.from({ length: 2 }, (_, i) => Datum.fromCompletion([1 + i, 2], [3, 4, 5]))
const items = Array.from({ length: 10 }, () => ({ data, lossFn: "cross_entropy" as const }))
const steps = 20

const program = Effect.gen(function*() {
  const { baseUrl } = yield* LocalTinkex.LocalServer
  const { url } = yield* proxy(baseUrl)
  const service = yield* ServiceClient.make({ baseUrl: url })
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano-random", rank: 4 })
  const sequential = Effect.forEach(
    items,
    ({ data, lossFn }) => Effect.flatMap(training.forwardBackward(data, lossFn), Future.await),
    { discard: true }
  )
  const batched = Effect.flatMap(Batch.forwardBackward(training, items), (batch) => batch.await)
  const naive = Effect.repeatN(
    Effect.zipRight(
      Effect.flatMap(training.forwardBackward(data, "cross_entropy"), Future.await),
      Effect.flatMap(training.optimStep({ learningRate: 1e-4 }), Future.await)
    ),
    steps - 1
  )
  const pipelined = Stream.repeatValue(data).pipe(
    Stream.take(steps),
    TrainingLoop.run(training, { loss: "cross_entropy", adam: { learningRate: 1e-4 } }),
    Stream.runDrain
  )
  yield* Effect.all([sequential, batched, naive, pipelined])
  const ratios = { batch: [] as Array<number>, loop: [] as Array<number> }
  for (let round = 0; round < 5; round++) {
    ratios.batch.push(1 - (yield* timed(batched)) / (yield* timed(sequential)))
    ratios.loop.push((yield* timed(naive)) / (yield* timed(pipelined)))
  }
  return ratios
}).pipe(
  Effect.scoped,
  Effect.provide(Layer.mergeAll(LocalTinkex.layerServer(), NodeTinkex.layerHttpClient()))
)

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const { batch, loop } = await Effect.runPromise(program)
  return [
    {
      name: "wall time saved by a batch of 10 merged items over 10 calls, 20 ms round trip",
      value: 100 * median(batch),
      unit: "%",
      target: 60,
      better: "higher"
    },
    {
      name: "TrainingLoop.run over the loop that awaits each result, 20 ms round trip",
      value: median(loop),
      unit: "x",
      target: null,
      better: "higher"
    }
  ]
}
