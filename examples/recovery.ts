/**
 * A training loop that survives the loss of its run. The service of this example claims, once, that the run is corrupted.
 *
 *     npx tsx examples/recovery.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Stream } from "effect"
import { Datum, Future, Recovery, RestClient, ServiceClient, Tokenizer } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const { encode } = Tokenizer.nano
const data = [Datum.fromCompletion(encode("The sky is"), encode(" blue\n"))]

/** As the real client, but it says of one run that it is corrupted. */
const breaking = (runId: string) =>
  Effect.map(RestClient.RestClient, (rest): RestClient.Client =>
    Object.assign(Object.create(rest), {
      getTrainingRun: (id: string) =>
        Effect.map(rest.getTrainingRun(id), (run) => id === runId ? { ...run, corrupted: true } : run)
    }))

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const first = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8, seed: 1 })
  const recovery = yield* Recovery.make(first, { pollInterval: "10 seconds" }).pipe(
    Effect.provideServiceEffect(RestClient.RestClient, breaking(first.modelId))
  )
  const events = yield* recovery.events
  yield* Effect.forkScoped(Stream.runForEach(events, (event) => Effect.log(event._tag)))

  yield* recovery.use(({ client, restoredFrom }) =>
    Effect.gen(function*() {
      // the name of the checkpoint says where to go on
      const start = restoredFrom === undefined ? 0 : Number(restoredFrom.split("-").at(-1))
      for (let step = start; step < 10; step++) {
        if (step === 7 && restoredFrom === undefined) return yield* Effect.fail("the run does not answer" as const)
        const pass = yield* client.forwardBackward(data, "cross_entropy")
        yield* Effect.flatMap(client.optimStep({ learningRate: 5e-3 }), Future.await)
        yield* Effect.log(`step ${step}: loss ${(yield* Future.await(pass)).metrics["loss:sum"]?.toFixed(3)}`)
        if (step % 5 === 4) yield* Effect.flatMap(client.saveState(`step-${step + 1}`), Future.await)
      }
    })
  )
}).pipe(Effect.scoped)

program.pipe(Effect.provide(Layer.provideMerge(RestClient.layer, LocalTinkex.layer())), NodeRuntime.runMain)
