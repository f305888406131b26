/** The clients as promises, against the embedded server in the process of the test. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Datum, Message, TinkexError, Tokenizer } from "tinkex"
import { connect } from "tinkex/promise"
import { TestServer } from "tinkex/testing"

const { decode, encode } = Tokenizer.nano
const lesson = [Datum.fromCompletion(encode("2 + 2 ="), encode(" 4"))]

/** What a promise rejects with. */
const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then((value) => assert.fail(`resolved with ${String(value)}`), (reason: unknown) => reason)

const tagOf = (reason: unknown) => (reason as { readonly _tag?: string })._tag

describe("connect", () => {
  it("trains, samples and lists, with operations handed in as they are called", async () => {
    await using service = await connect(TestServer.layer())
    await using training = await service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
    const losses: Array<number> = []
    for (let i = 0; i < 12; i++) {
      const handedIn = [
        training.forwardBackward(lesson, "cross_entropy"),
        training.optimStep({ learningRate: 1e-2 })
      ] as const
      const [gradients, step] = await Promise.all(handedIn)
      const [{ metrics }] = await Promise.all([gradients.result(), step.result()])
      losses.push(metrics["loss:sum"] ?? NaN)
    }
    assert.isBelow(losses[11]!, losses[0]! / 4)
    const saved = await (await training.saveWeightsForSampler("taught")).result()
    await using sampler = await service.createSamplingClient({ modelPath: saved.path })
    const { sequences } = await sampler.sample({ prompt: encode("2 + 2 ="), maxTokens: 2, temperature: 0 })
    assert.strictEqual(decode(sequences[0]!.tokens).trim(), "4")
    assert.lengthOf(await sampler.computeLogprobs(encode("2 + 2 = 4")), encode("2 + 2 = 4").length)

    const runs: Array<string> = []
    for await (const run of service.rest.listTrainingRuns()) runs.push(run.trainingRunId)
    assert.include(runs, training.modelId)
    const checkpoints: Array<string> = []
    for await (const { tinkerPath } of service.rest.listCheckpoints(training.modelId)) checkpoints.push(tinkerPath)
    assert.deepStrictEqual(checkpoints, [saved.path])
  })

  it("a chat answers whole and as it comes", async () => {
    await using service = await connect(TestServer.layer())
    await using chat = await service.createChat({ baseModel: "tinkex/nano" })
    const options = { messages: [Message.user("2 + 2 =")], maxTokens: 6, temperature: 0 }
    const { choices } = await chat.generate(options)
    const kinds: Array<string> = []
    let last = ""
    for await (const event of chat.stream(options)) {
      kinds.push(event.type)
      if (event.type === "choice") last = Message.text(event.choice.message)
    }
    assert.strictEqual(kinds.at(-1), "usage")
    assert.strictEqual(last, Message.text(choices[0]!.message))
  })

  it("rejects with the tagged error itself", async () => {
    await using service = await connect(TestServer.layer())
    const unknown = await rejection(service.createLoraTrainingClient({ baseModel: "nobody/knows" }))
    assert.include(["BadRequest", "NotFound", "RequestFailed"], tagOf(unknown))
    const invalid = await rejection(service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 0 }))
    assert.strictEqual(tagOf(invalid), "InvalidInput")
    assert.instanceOf(invalid, Error)
    const path = await rejection(service.rest.getCheckpoint("nowhere"))
    assert.strictEqual(tagOf(path), "InvalidInput")
    const listed = service.rest.listCheckpoints("nobody:train:0")
    assert.strictEqual(tagOf(await rejection(listed.next())), "NotFound")
  })

  it("rejects with what the layer fails with", async () => {
    const layer = Layer.merge(
      TestServer.layer(),
      Layer.fail(new TinkexError.ConfigurationError({ setting: "apiKey", detail: "none" }))
    )
    assert.strictEqual(tagOf(await rejection(connect(layer))), "ConfigurationError")
  })

  it("a signal ends the wait and the fiber behind it, with its own reason; the operation goes on", async () => {
    await using service = await connect(TestServer.layer())
    await using training = await service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
    const pending = await training.forwardBackward(lesson, "cross_entropy")
    const controller = new AbortController()
    const waiting = rejection(pending.result({ signal: controller.signal }))
    controller.abort("enough")
    assert.strictEqual(await waiting, "enough")
    assert.isAbove((await pending.result()).metrics["loss:sum"] ?? NaN, 0)
    assert.strictEqual(await rejection(training.getInfo({ signal: AbortSignal.abort("before") })), "before")

    let ended = false
    const second = new AbortController()
    const running = rejection(
      service.run(Effect.onInterrupt(Effect.never, () => Effect.sync(() => (ended = true))), { signal: second.signal })
    )
    second.abort("now")
    assert.strictEqual(await running, "now")
    assert.isTrue(ended)
  })

  it("an iteration that is broken off releases its stream", async () => {
    await using service = await connect(TestServer.layer())
    for (let i = 0; i < 3; i++) {
      await using training = await service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 1 })
      assert.notStrictEqual(training.modelId, "")
    }
    let seen = 0
    for await (const run of service.rest.listTrainingRuns({ pageSize: 1 })) {
      assert.notStrictEqual(run.trainingRunId, "")
      if (++seen === 2) break
    }
    assert.strictEqual(seen, 2)
    const controller = new AbortController()
    const runs = service.rest.listTrainingRuns({ pageSize: 1, signal: controller.signal })
    await runs.next()
    controller.abort("enough")
    assert.strictEqual(await rejection(runs.next()), "enough")
  })

  it("closing ends the session, what waits and what is called later, and again does nothing", async () => {
    const service = await connect(TestServer.layer())
    const training = await service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 1 })
    const waiting = rejection(service.run(Effect.never))
    await training.close()
    assert.strictEqual(tagOf(await rejection(training.getInfo())), "ClientClosed")
    assert.isNotEmpty((await service.serverCapabilities()).supportedModels)
    await service.close()
    await service.close()
    assert.strictEqual(tagOf(await waiting), "ClientClosed")
    assert.strictEqual(tagOf(await rejection(service.serverCapabilities())), "ClientClosed")
    assert.strictEqual((await Effect.runPromise(service.client.sessionState))._tag, "Ended")
  })
})
