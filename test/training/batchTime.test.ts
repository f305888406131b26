import { assert, describe } from "@effect/vitest"
import { Clock, Effect } from "effect"
import * as Future from "../../src/client/Future.js"
import * as Datum from "../../src/protocol/Datum.js"
import * as ForwardBackwardCodec from "../../src/protocol/ForwardBackwardCodec.js"
import * as Batch from "../../src/training/Batch.js"
import { rushed, serviceOf, testOver } from "../client/fixtures/FakeService.js"

const data = [Datum.fromCompletion([1], [2])]

describe("Batch in time", () => {
  testOver("three calls that share a loss and take 100 ms each become one of 110 ms", (fake) =>
    Effect.gen(function*() {
      const service = yield* serviceOf()
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano" })
      // A trip takes 100 ms; putting several items together takes the fake 10 ms more
      fake.on("forward_backward", (call, n) => {
        const items = Effect.runSync(ForwardBackwardCodec.decodeRequest(call.bytes)).data.length
        const answer = fake.usual("forward_backward")(call, n)
        const reply = Effect.isEffect(answer) ? answer : Effect.succeed(answer)
        return Effect.delay(reply, items > 1 ? 110 : 100)
      })
      const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.gen(function*() {
          const from = yield* Clock.currentTimeMillis
          yield* rushed(effect, 10)
          return (yield* Clock.currentTimeMillis) - from
        })
      const one = Effect.flatMap(training.forwardBackward(data, "cross_entropy"), Future.await)
      assert.strictEqual(yield* timed(Effect.all([one, one, one])), 300)
      const batch = Effect.flatMap(
        Batch.forwardBackward(training, [1, 2, 3].map(() => ({ data, lossFn: "cross_entropy" as const }))),
        (batch) => Effect.all(batch.results)
      )
      assert.strictEqual(yield* timed(batch), 110)
      assert.strictEqual(fake.of("forward_backward").length, 4)
    }))
})
