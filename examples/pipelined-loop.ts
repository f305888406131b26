/**
 * The loop as a stream: batches in, steps out, two in flight, no faster than the service trains.
 *
 *     npx tsx examples/pipelined-loop.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Stream } from "effect"
import { Datum, ServiceClient, Tokenizer, TrainingLoop } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { encode } = Tokenizer.nano
// A batch of eight sums at a time
const batches = Stream.iterate(0, (n) => n + 8).pipe(
  Stream.map((from) =>
    Array.from({ length: 8 }, (_, i) => {
      const [a, b] = [(from + i) % 10, Math.floor((from + i) / 10) % 10]
      return Datum.fromCompletion(encode(`${a} + ${b} =`), encode(` ${a + b}<|endoftext|>`))
    })
  ),
  Stream.take(30)
)

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
  yield* batches.pipe(
    TrainingLoop.run(training, {
      loss: "cross_entropy",
      adam: (step) => ({ learningRate: 5e-3 * (1 - step / 30) }),
      inFlight: 2
    }),
    Stream.filter(({ index }) => index % 10 === 9),
    Stream.runForEach(({ examples, index, output }) =>
      Effect.log(`step ${index + 1}: loss ${((output.metrics["loss:sum"] ?? 0) / examples).toFixed(3)} an example`)
    )
  )
}).pipe(Effect.scoped)

program.pipe(Effect.provide(LocalTinkex.layer()), NodeRuntime.runMain)
