import { assert, describe, it } from "@effect/vitest"
import type { Operation, Outcome, Reply, Request } from "../../../src/engine/host/messages.js"
import { settings } from "../../../src/engine/host/settings.js"
import { makeWorkers } from "../../../src/engine/host/workers.js"
import { definition, passOf, requestOf } from "../engines.js"

/** Workers that only note what they are sent, and answer when told. */
const setUp = (size: number) => {
  const sent: Array<Array<Request>> = []
  const listeners: Array<Map<string, (value: unknown) => void>> = []
  const workers = makeWorkers(settings({ models: [definition] }), size, () => {
    const rank = sent.length
    sent.push([])
    listeners.push(new Map())
    return {
      postMessage: (message) => void sent[rank]!.push(message as Request),
      on: (event, listener) => listeners[rank]!.set(event, listener),
      terminate: () => Promise.resolve()
    }
  })
  const outcomes: Array<Outcome> = []
  return {
    sent,
    outcomes,
    submit: (operation: Operation) => workers.submit(operation, (outcome) => outcomes.push(outcome)),
    /** Answers the worker's last request. */
    answer: (rank: number, outcome: Outcome, at = -1) => {
      const reply: Reply = { id: sent[rank]!.at(at)!.id, outcome }
      listeners[rank]!.get("message")!(reply)
    },
    emit: (rank: number, event: string, value: unknown) => listeners[rank]!.get(event)!(value)
  }
}

const done: Outcome = { ok: true, value: undefined }
const full: Outcome = { ok: false, reason: "LimitReached", detail: "full" }
const sampling = (numSamples: number): Operation => ({
  name: "sample",
  input: { samplerId: "s", request: requestOf({ numSamples }), streams: false }
})
const operations = (requests: ReadonlyArray<Request>) =>
  requests.map((request) => "operation" in request ? request.operation.name : "cancel")

describe("workers", () => {
  it("all do what concerns runs, and answer when all have", () => {
    const { answer, outcomes, sent, submit } = setUp(2)
    submit({ name: "releaseRun", input: { runId: "r" } })
    assert.deepStrictEqual(sent[0], sent[1])
    answer(1, done)
    assert.deepStrictEqual(outcomes, [])
    answer(0, done)
    assert.deepStrictEqual(outcomes, [done])
  })

  it("put the parts of a pass together in the order of their ranks", () => {
    const { answer, outcomes, submit } = setUp(3)
    submit({ name: "pass", input: { runId: "r", request: passOf(3, 4) } })
    const output = (i: number) => ({ logprobs: Float32Array.of(i), shape: [1] })
    for (const rank of [2, 0, 1]) answer(rank, { ok: true, value: { outputs: [output(rank)], loss: 10 ** rank } })
    assert.deepStrictEqual(outcomes, [{ ok: true, value: { outputs: [0, 1, 2].map(output), loss: 111 } }])
  })

  it("undo what one of them could not do", () => {
    const lora = null
    const cases: ReadonlyArray<readonly [Operation, string]> = [
      [{ name: "createRun", input: { runId: "r", baseModel: "tiny", lora } }, "releaseRun"],
      [{ name: "createSampler", input: { samplerId: "s", source: { baseModel: "tiny" } } }, "releaseSampler"]
    ]
    for (const [operation, undo] of cases) {
      const { answer, outcomes, sent, submit } = setUp(2)
      submit(operation)
      answer(0, done)
      answer(1, full)
      assert.deepStrictEqual(outcomes, [full])
      assert.deepStrictEqual(operations(sent[0]!), [operation.name, undo])
      assert.deepStrictEqual(operations(sent[1]!), [operation.name])
      answer(0, done)
      assert.strictEqual(outcomes.length, 1)
    }
  })

  it("share sampling requests by what each has to sample", () => {
    const { answer, sent, submit } = setUp(2)
    for (const samples of [4, 1, 2, 2]) submit(sampling(samples))
    assert.deepStrictEqual(sent.map(({ length }) => length), [1, 3])
    answer(1, { ok: true, value: { sequences: [] } })
    answer(1, { ok: true, value: { sequences: [] } }, -2)
    submit(sampling(1))
    assert.deepStrictEqual(sent.map(({ length }) => length), [1, 4])
  })

  it("are told to take back a sample, and only a sample", () => {
    const { answer, outcomes, sent, submit } = setUp(2)
    const cancelSample = submit(sampling(5))
    const cancelStep = submit({ name: "releaseRun", input: { runId: "r" } })
    cancelSample()
    cancelStep()
    assert.deepStrictEqual(operations(sent[0]!), ["sample", "releaseRun", "cancel"])
    assert.strictEqual(sent[0]![2]!.id, sent[0]![0]!.id)
    assert.deepStrictEqual(operations(sent[1]!), ["releaseRun"])
    // Its place is free at once, and answers that were under way are dropped.
    submit(sampling(1))
    assert.deepStrictEqual(operations(sent[0]!).at(-1), "sample")
    answer(0, { ok: true, value: { sequences: [] } }, 0)
    answer(0, done, 1)
    answer(1, done, 0)
    assert.deepStrictEqual(outcomes, [])
  })

  it("fail together, once", () => {
    const { answer, emit, outcomes, sent, submit } = setUp(2)
    submit(sampling(1))
    submit({ name: "releaseRun", input: { runId: "r" } })
    emit(1, "error", new Error("out of memory"))
    emit(1, "exit", 1)
    emit(0, "exit", 1)
    answer(0, done)
    submit(sampling(1))
    assert.strictEqual(outcomes.length, 3)
    for (const outcome of outcomes) {
      assert.deepInclude(outcome, { ok: false, reason: "Crashed" })
      assert.include(outcome.ok ? "" : outcome.detail, "failed (out of memory)")
    }
    assert.strictEqual(sent[0]!.length, 2)
  })
})
