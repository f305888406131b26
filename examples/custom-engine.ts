/**
 * Another engine behind the embedded server: a table of logits, one row for each byte, that says which byte comes next. It is
 * small enough to read, and is trained and sampled over the same protocol as any other model.
 *
 *     npx tsx examples/custom-engine.ts
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Random } from "effect"
import { Datum, Future, ServiceClient } from "tinkex"
import * as Engine from "tinkex/engine/Engine"
import * as NodeTinkex from "tinkex/NodeTinkex"
import * as NodeServer from "tinkex/server/NodeServer"

const vocabSize = 256
const model: Engine.ModelInfo = {
  name: "example/bigrams",
  vocabSize,
  maxContext: 1024,
  eosTokens: [],
  tokenizerId: "bytes"
}

interface Run {
  readonly logits: Float32Array // [vocabSize, vocabSize]: row = the token before
  readonly gradients: Float32Array // [vocabSize, vocabSize]
}

/** The log-probabilities of what follows `token`: [vocabSize]. */
const logprobsAfter = ({ logits }: Run, token: number, temperature = 1): Float32Array => {
  const row = logits.subarray(token * vocabSize, (token + 1) * vocabSize).map((logit) => logit / temperature)
  const most = row.reduce((a, b) => Math.max(a, b))
  const logSum = most + Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - most), 0))
  return row.map((logit) => logit - logSum)
}

/** Cross-entropy, summed over the weighted targets, and its gradient: probabilities less the target. */
const pass = (run: Run, { backward, data }: Engine.PassRequest): Engine.PassResult => {
  let loss = 0
  const outputs = data.map(({ lossInputs, tokens }) => {
    const targets = lossInputs["target_tokens"]?.data ?? new Int32Array(0)
    const weights = lossInputs["weights"]?.data
    const logprobs = Float32Array.from(targets, (target, t) => {
      const token = tokens[t] ?? 0
      const row = logprobsAfter(run, token)
      const weight = weights?.[t] ?? 1
      loss -= weight * (row[target] ?? 0)
      if (backward) {
        for (let v = 0; v < vocabSize; v++) {
          const at = token * vocabSize + v
          run.gradients[at] = (run.gradients[at] ?? 0) + weight * (Math.exp(row[v] ?? 0) - (v === target ? 1 : 0))
        }
      }
      return row[target] ?? 0
    })
    return { logprobs, shape: [targets.length] }
  })
  return { outputs, loss }
}

/** Plain gradient descent. */
const step = ({ gradients, logits }: Run, learningRate: number): { readonly gradNorm: number } => {
  let squares = 0
  gradients.forEach((gradient, i) => {
    squares += gradient * gradient
    logits[i] = (logits[i] ?? 0) - learningRate * gradient
  })
  gradients.fill(0)
  return { gradNorm: Math.sqrt(squares) }
}

const draw = (run: Run, request: Engine.SampleRequest): Effect.Effect<Engine.SampledSequence> =>
  Effect.gen(function*() {
    const tokens: Array<number> = []
    const logprobs: Array<number> = []
    for (let last = request.prompt.at(-1) ?? 0; tokens.length < (request.maxTokens ?? 1); last = tokens.at(-1) ?? 0) {
      const row = logprobsAfter(run, last, request.temperature === 0 ? 1 : request.temperature)
      let rest = yield* Random.next
      let next = row.indexOf(row.reduce((a, b) => Math.max(a, b)))
      if (request.temperature > 0) next = row.findIndex((logprob) => (rest -= Math.exp(logprob)) <= 0)
      tokens.push(Math.max(0, next))
      logprobs.push(row[Math.max(0, next)] ?? 0)
    }
    return { stopReason: "length", tokens: Int32Array.from(tokens), logprobs: Float32Array.from(logprobs) }
  })

const stateOf = ({ logits }: Run): Engine.RunState => ({
  baseModel: model.name,
  lora: null,
  weights: [{ name: "logits", shape: [vocabSize, vocabSize], data: logits.slice() }],
  optimizer: null
})

const runOf = (state?: Engine.RunState): Run => ({
  logits: state?.weights[0]?.data.slice() ?? new Float32Array(vocabSize * vocabSize),
  gradients: new Float32Array(vocabSize * vocabSize)
})

const layer = Layer.sync(Engine.Engine, () => {
  const runs = new Map<string, Run>()
  const samplers = new Map<string, Run>()
  const find = (
    from: ReadonlyMap<string, Run>,
    id: string,
    reason: "UnknownRun" | "UnknownSampler"
  ): Effect.Effect<Run, Engine.EngineError> =>
    Effect.suspend(() => {
      const run = from.get(id)
      return run === undefined
        ? Effect.fail(new Engine.EngineError({ reason, detail: `there is no ${id}` }))
        : Effect.succeed(run)
    })
  const run = (id: string) => find(runs, id, "UnknownRun")
  return {
    models: [model],
    createRun: (id) => Effect.sync(() => void runs.set(id, runOf())),
    importRun: (id, state) => Effect.sync(() => void runs.set(id, runOf(state))),
    loadRun: (id, state) => Effect.map(run(id), () => void runs.set(id, runOf(state))),
    exportRun: (id) => Effect.map(run(id), stateOf),
    releaseRun: (id) => Effect.sync(() => void runs.delete(id)),
    pass: (id, request) => Effect.map(run(id), (run) => pass(run, request)),
    optimStep: (id, { learningRate }) => Effect.map(run(id), (run) => step(run, learningRate)),
    createSampler: (id, source) =>
      Effect.map(
        "runId" in source
          ? Effect.map(run(source.runId), (run) => runOf(stateOf(run)))
          : Effect.succeed(runOf("state" in source ? source.state : undefined)),
        (frozen) => void samplers.set(id, frozen)
      ),
    releaseSampler: (id) => Effect.sync(() => void samplers.delete(id)),
    sample: (id, request) =>
      Effect.flatMap(find(samplers, id, "UnknownSampler"), (run) =>
        Effect.map(
          Effect.forEach(Array.from({ length: request.numSamples }), () => draw(run, request)),
          (sequences) => ({ sequences })
        ))
  }
})

const text = "the cat sat on the mat and the cat sat on the hat "
const bytes = (text: string): Array<number> => [...new TextEncoder().encode(text)]

const program = Effect.gen(function*() {
  const { url } = yield* NodeServer.NodeServer
  const service = yield* ServiceClient.make({ baseUrl: url })
  const training = yield* service.createLoraTrainingClient({ baseModel: model.name, rank: 1 })
  const tokens = bytes(text)
  const datum = Datum.fromCompletion(tokens.slice(0, 1), tokens.slice(1))
  for (let i = 0; i < 20; i++) {
    const gradients = yield* training.forwardBackward([datum], "cross_entropy")
    const update = yield* training.optimStep({ learningRate: 0.3 })
    const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(update)])
    if (i % 5 === 4) yield* Effect.log(`step ${i + 1}: loss ${metrics["loss:sum"]?.toFixed(2)}`)
  }
  const sampler = yield* training.saveWeightsAndGetSamplingClient
  const { sequences } = yield* sampler.sample({ prompt: bytes("the c"), maxTokens: 40, temperature: 0.7 })
  yield* Effect.log(`the c${sequences.map(({ tokens }) => new TextDecoder().decode(Uint8Array.from(tokens))).join()}`)
}).pipe(Effect.scoped)

program.pipe(
  Effect.provide(Layer.mergeAll(Layer.provide(NodeServer.layer(), layer), NodeTinkex.layerShared())),
  NodeRuntime.runMain
)
