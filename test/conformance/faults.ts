/** Servers that get one thing wrong: an engine, or the answers on their way, with a planted fault. */
import { HttpClient, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { Effect } from "effect"
import type { Context } from "effect"
import type { Engine, PassRequest, SampleRequest, SampleResult } from "../../src/engine/Engine.js"

type EngineService = Context.Tag.Service<typeof Engine>

export interface Fault {
  readonly name: string
  /** Of the checks that this fault must fail, one. */
  readonly found: string
  readonly engine?: (engine: EngineService) => EngineService
  readonly http?: (client: HttpClient.HttpClient) => HttpClient.HttpClient
}

const passes = (change: (request: PassRequest) => PassRequest) => (engine: EngineService): EngineService => ({
  ...engine,
  pass: (runId, request) => engine.pass(runId, change(request))
})

const steps =
  (change: (params: Parameters<EngineService["optimStep"]>[1]) => Parameters<EngineService["optimStep"]>[1]) =>
  (engine: EngineService): EngineService => ({
    ...engine,
    optimStep: (runId, params) => engine.optimStep(runId, change(params))
  })

const samples = (
  change: (request: SampleRequest) => SampleRequest,
  after: (result: SampleResult, request: SampleRequest) => SampleResult = (result) => result
) =>
(engine: EngineService): EngineService => ({
  ...engine,
  sample: (samplerId, request) =>
    Effect.map(engine.sample(samplerId, change(request)), (result) => after(result, request))
})

const tensors =
  (name: string, change: (data: Float32Array) => Float32Array) => (request: PassRequest): PassRequest => ({
    ...request,
    data: request.data.map((datum) => {
      const tensor = datum.lossInputs[name]
      return tensor === undefined || !(tensor.data instanceof Float32Array)
        ? datum
        : { ...datum, lossInputs: { ...datum.lossInputs, [name]: { ...tensor, data: change(tensor.data) } } }
    })
  })

/** Changes what comes back from a path. */
const answers = (
  path: string,
  change: (json: Record<string, unknown>, status: number) => { readonly json: unknown; readonly status: number }
) =>
(client: HttpClient.HttpClient): HttpClient.HttpClient =>
  HttpClient.make((request, url) =>
    Effect.flatMap(
      client.execute(request),
      (response) =>
        url.pathname.endsWith(path) && response.headers["content-type"]?.includes("json") === true
          ? Effect.map(response.json, (json) => {
            const changed = change(json as Record<string, unknown>, response.status) // answers of these paths are objects
            return HttpClientResponse.fromWeb(
              request,
              new Response(JSON.stringify(changed.json), {
                status: changed.status,
                headers: { "content-type": "application/json" }
              })
            )
          })
          : Effect.succeed(response)
    )
  )

/** Changes JSON bodies on their way to a path. */
const bodies =
  (path: string, change: (json: Record<string, unknown>) => unknown) =>
  (client: HttpClient.HttpClient): HttpClient.HttpClient =>
    HttpClient.make((request, url) => {
      const { body } = request
      if (!url.pathname.endsWith(path) || body._tag !== "Uint8Array") return client.execute(request)
      try {
        const json = JSON.parse(new TextDecoder().decode(body.body)) as Record<string, unknown> // as the checks send them
        return client.execute(HttpClientRequest.bodyUnsafeJson(request, change(json)))
      } catch {
        return client.execute(request)
      }
    })

export const faults: ReadonlyArray<Fault> = [
  {
    name: "the loss is a mean",
    found: "losses/cross-entropy",
    engine: (engine) => ({
      ...engine,
      pass: (runId, request) =>
        Effect.map(engine.pass(runId, request), (result) => ({
          ...result,
          loss: result.loss / result.outputs.reduce((sum, { logprobs }) => sum + logprobs.length, 0)
        }))
    })
  },
  {
    name: "weights are normalised",
    found: "gradients/linear-in-weights",
    engine: passes(tensors("weights", (data) => {
      const sum = data.reduce((total, value) => total + Math.abs(value), 0) || 1
      return data.map((value) => value / sum)
    }))
  },
  {
    name: "negative weights lose their sign",
    found: "losses/cross-entropy-weights",
    engine: passes(tensors("weights", (data) => data.map(Math.abs)))
  },
  {
    name: "small weights are taken for none",
    found: "gradients/small-weights",
    engine: passes(tensors("weights", (data) => data.map((value) => Math.abs(value) < 0.01 ? 0 : value)))
  },
  {
    name: "ppo does not clip",
    found: "losses/ppo",
    engine: passes((request) =>
      request.lossFn === "ppo" ? { ...request, lossFn: "importance_sampling", lossConfig: {} } : request
    )
  },
  {
    name: "the settings of a loss are ignored",
    found: "losses/ppo-bounds",
    engine: passes((request) => ({ ...request, lossConfig: {} }))
  },
  {
    name: "forward leaves gradients",
    found: "gradients/forward-adds-nothing",
    engine: passes((request) => ({ ...request, backward: true }))
  },
  {
    name: "a step leaves the gradient where it is",
    found: "gradients/step-clears",
    engine: (engine) => {
      const pending = new Map<string, Array<PassRequest>>()
      return {
        ...engine,
        pass: (runId, request) => {
          if (request.backward) pending.set(runId, [...(pending.get(runId) ?? []), request])
          return engine.pass(runId, request)
        },
        optimStep: (runId, params) =>
          Effect.tap(
            engine.optimStep(runId, params),
            () => Effect.forEach(pending.get(runId) ?? [], (request) => engine.pass(runId, request), { discard: true })
          )
      }
    }
  },
  { name: "eps is ignored", found: "optimizer/eps-counts", engine: steps((params) => ({ ...params, eps: 1e-8 })) },
  { name: "there is no decay", found: "optimizer/decay", engine: steps((params) => ({ ...params, weightDecay: 0 })) },
  { name: "nothing is clipped", found: "optimizer/clip", engine: steps((params) => ({ ...params, gradClipNorm: 0 })) },
  {
    name: "there is no momentum",
    found: "optimizer/moments-persist",
    engine: steps((params) => ({ ...params, beta1: 0 }))
  },
  {
    name: "the optimiser is not loaded",
    found: "checkpoints/optimizer-resumes",
    engine: (engine) => ({
      ...engine,
      importRun: (runId, state) => engine.importRun(runId, state, { optimizer: false }),
      loadRun: (runId, state) => engine.loadRun(runId, state, { optimizer: false })
    })
  },
  {
    name: "the optimiser is loaded unasked",
    found: "checkpoints/optimizer-starts-afresh",
    engine: (engine) => ({
      ...engine,
      importRun: (runId, state) => engine.importRun(runId, state, { optimizer: true }),
      loadRun: (runId, state) => engine.loadRun(runId, state, { optimizer: true })
    }),
    // the server reads no more of a checkpoint than is asked for
    http: bodies("/load_weights", (json) => ({ ...json, optimizer: true }))
  },
  {
    name: "samplers follow the weights in training",
    found: "checkpoints/sampler-frozen",
    engine: (engine) => {
      const runs = new Map<string, string>()
      return {
        ...engine,
        createSampler: (samplerId, source) => {
          if ("runId" in source) runs.set(samplerId, source.runId)
          return engine.createSampler(samplerId, source)
        },
        sample: (samplerId, request) => {
          const runId = runs.get(samplerId)
          const live = `${samplerId}-${request.prompt.length}-${Math.random()}`
          return runId === undefined
            ? engine.sample(samplerId, request)
            : Effect.zipRight(engine.createSampler(live, { runId }), engine.sample(live, request))
        }
      }
    }
  },
  {
    name: "prompt logprobs leave out the first token",
    found: "prompt/as-many",
    engine: samples((request) => request, (result) => ({
      ...result,
      promptLogprobs: result.promptLogprobs?.slice(1)
    }))
  },
  {
    name: "seeds are ignored",
    found: "sampling/seed-repeats",
    engine: samples((request) => ({ ...request, seed: undefined }))
  },
  {
    name: "the samples of a request are copies",
    found: "sampling/seed-differs",
    engine: samples((request) => request, (result) => ({
      ...result,
      sequences: result.sequences.map(() => result.sequences[0]!) // there is at least one
    }))
  },
  {
    name: "temperature is ignored",
    found: "sampling/temperature",
    engine: samples((request) => ({ ...request, temperature: request.temperature === 0 ? 0 : 1 }))
  },
  {
    name: "top_k is ignored",
    found: "sampling/top-k",
    engine: samples((request) => ({ ...request, topK: -1 }))
  },
  {
    name: "the stop token is left out",
    found: "stops/token",
    engine: samples((request) => request, (result) => ({
      ...result,
      sequences: result.sequences.map((sequence) =>
        sequence.stopReason === "length" ? sequence : {
          ...sequence,
          tokens: sequence.tokens.slice(0, -1),
          logprobs: sequence.logprobs.slice(0, -1)
        }
      )
    }))
  },
  {
    name: "logprobs of samples are rounded",
    found: "sampling/sampler-is-trainer",
    engine: samples((request) => request, (result) => ({
      ...result,
      sequences: result.sequences.map((sequence) => ({
        ...sequence,
        logprobs: sequence.logprobs.map((value) => Math.round(value))
      }))
    }))
  },
  {
    name: "results are always JSON",
    found: "wire/training-protobuf",
    http: (client) => HttpClient.mapRequest(client, HttpClientRequest.setHeader("accept", "application/json"))
  },
  {
    name: "sequences have no ids",
    found: "order/sequence-ids",
    http: answers("/asample", (json, status) => ({ json: { ...json, sample_sequence_ids: undefined }, status }))
  },
  {
    name: "telemetry is unknown",
    found: "wire/telemetry",
    http: answers("/telemetry", () => ({ json: { detail: "Not Found" }, status: 404 }))
  },
  {
    name: "a future that does not exist is waited for",
    found: "polls/unknown",
    http: answers(
      "/retrieve_future",
      (json, status) =>
        status === 404 ? { json: { type: "try_again", queue_state: "active" }, status: 200 } : { json, status }
    )
  },
  {
    name: "a step that is sent again is done again",
    found: "order/step-again",
    http: (client) => {
      const seen = new Map<string, number>()
      let shift = 0
      return bodies("/optim_step", (json) => {
        const key = `${String(json["model_id"])} ${String(json["seq_id"])}`
        const times = seen.get(key) ?? 0
        seen.set(key, times + 1)
        if (times > 0) shift++
        return { ...json, seq_id: Number(json["seq_id"]) + (times > 0 ? shift : 0) }
      })(client)
    }
  },
  {
    name: "words are missing from refusals",
    found: "errors/rank-zero",
    http: answers("/create_model", (json, status) => status >= 400 ? { json: {}, status: 200 } : { json, status })
  }
]
