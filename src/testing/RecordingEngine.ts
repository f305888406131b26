/**
 * An engine without a model: every operation is instantaneous and written down, so that a test can check what was done, in
 * which order, and how often.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  type AdamParams,
  Engine,
  EngineError,
  type ModelInfo,
  type PassRequest,
  type RunState,
  type SampleRequest
} from "../engine/Engine.js"
import * as Models from "../engine/model/Models.js"
import * as AppliedLog from "../server/runs/AppliedLog.js"

/**
 * One operation as the engine was asked for it. Passes, steps and samples carry their request.
 *
 * @since 0.1.0
 * @category models
 */
export type Recorded =
  | { readonly _tag: "Pass"; readonly runId: string; readonly request: PassRequest }
  | { readonly _tag: "OptimStep"; readonly runId: string; readonly params: AdamParams }
  | { readonly _tag: "CreateRun" | "ImportRun" | "LoadRun" | "ExportRun" | "ReleaseRun"; readonly runId: string }
  | { readonly _tag: "CreateSampler" | "ReleaseSampler"; readonly samplerId: string }
  | { readonly _tag: "Sample"; readonly samplerId: string; readonly request: SampleRequest }

/**
 * What the engine was asked, and what the server says that it applied.
 *
 * @since 0.1.0
 * @category services
 */
export class RecordingEngine extends Context.Tag("tinkex/testing/RecordingEngine")<RecordingEngine, {
  /** Every operation that the engine did, in order. */
  readonly operations: Effect.Effect<ReadonlyArray<Recorded>>
  /** Every operation of every run as the server applied it, with its `seq_id` and request id, in order. */
  readonly applied: Effect.Effect<ReadonlyArray<AppliedLog.Applied>>
  /** The one weight of a run: a step moves it by learning rate times the losses of the backward passes before it. */
  readonly weight: (runId: string) => Effect.Effect<number | undefined>
}>() {}

/**
 * Settings of the engine.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Base models that it says it has; `tinkex/nano` unless given. */
  readonly models?: ReadonlyArray<ModelInfo> | undefined
  /** Whether operations are written down; `false` for tests that measure memory. */
  readonly record?: boolean | undefined
}

interface Run {
  readonly baseModel: string
  readonly lora: RunState["lora"]
  weight: number
  gradient: number
  step: number
}

const tensorName = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"

const tensor = (value: number) => [{ name: tensorName, shape: [1], data: Float32Array.of(value) }]

const stateOf = (run: Run, optimizer: boolean): RunState => ({
  baseModel: run.baseModel,
  lora: run.lora,
  weights: tensor(run.weight),
  optimizer: optimizer ? { step: run.step, m: tensor(0), v: tensor(0) } : null
})

/** Every target has the log-probability -1. */
const passOf = ({ data }: PassRequest) => {
  let loss = 0
  const outputs = data.map(({ lossInputs }) => {
    const targets = lossInputs["target_tokens"]
    const weights = lossInputs["weights"] ?? lossInputs["advantages"]
    const length = targets?.data.length ?? 0
    for (let i = 0; i < length; i++) loss += weights?.data[i] ?? 1
    return { logprobs: new Float32Array(length).fill(-1), shape: targets?.shape ?? [0] }
  })
  return { outputs, loss }
}

/** As many tokens as were asked for, one unless said: the last of the prompt over and over. */
const sampleOf = (request: SampleRequest) => {
  const length = request.maxTokens ?? 1
  const last = request.prompt[request.prompt.length - 1] ?? 0
  return {
    sequences: Array.from({ length: request.numSamples }, () => ({
      stopReason: "length" as const,
      tokens: new Int32Array(length).fill(last),
      logprobs: new Float32Array(length).fill(-1)
    })),
    ...(request.promptLogprobs
      ? { promptLogprobs: Float32Array.from(request.prompt, (_, i) => i === 0 ? Number.NaN : -1) }
      : {})
  }
}

/**
 * The engine and its record.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}) =>
  Effect.map(AppliedLog.make, (log) => {
    const models = options.models ?? [Models.info(Models.nano)]
    const recording = options.record !== false
    const operations: Array<Recorded> = []
    const runs = new Map<string, Run>()
    const samplers = new Set<string>()

    const note = (operation: Recorded): void => {
      if (recording) operations.push(operation)
    }
    const runOf = (runId: string): Effect.Effect<Run, EngineError> => {
      const run = runs.get(runId)
      return run === undefined
        ? Effect.fail(new EngineError({ reason: "UnknownRun", detail: `there is no run ${runId}` }))
        : Effect.succeed(run)
    }
    const place = (runId: string, state: RunState, optimizer: boolean): void => {
      runs.set(runId, {
        baseModel: state.baseModel,
        lora: state.lora,
        weight: state.weights[0]?.data[0] ?? 0,
        gradient: 0,
        step: optimizer ? state.optimizer?.step ?? 0 : 0
      })
    }

    const engine: Context.Tag.Service<Engine> = {
      models,
      createRun: (runId, { baseModel, lora }) =>
        Effect.sync(() => {
          note({ _tag: "CreateRun", runId })
          runs.set(runId, { baseModel, lora, weight: 0, gradient: 0, step: 0 })
        }),
      importRun: (runId, state, { optimizer }) =>
        Effect.sync(() => {
          note({ _tag: "ImportRun", runId })
          place(runId, state, optimizer)
        }),
      loadRun: (runId, state, { optimizer }) =>
        Effect.map(Effect.suspend(() => runOf(runId)), () => {
          note({ _tag: "LoadRun", runId })
          place(runId, state, optimizer)
        }),
      exportRun: (runId, { optimizer }) =>
        Effect.map(Effect.suspend(() => runOf(runId)), (run) => {
          note({ _tag: "ExportRun", runId })
          return stateOf(run, optimizer)
        }),
      releaseRun: (runId) =>
        Effect.sync(() => {
          note({ _tag: "ReleaseRun", runId })
          runs.delete(runId)
        }),
      pass: (runId, request) =>
        Effect.map(Effect.suspend(() => runOf(runId)), (run) => {
          note({ _tag: "Pass", runId, request })
          const result = passOf(request)
          if (request.backward) run.gradient += result.loss
          return result
        }),
      optimStep: (runId, params) =>
        Effect.map(Effect.suspend(() => runOf(runId)), (run) => {
          note({ _tag: "OptimStep", runId, params })
          const gradNorm = Math.abs(run.gradient)
          run.weight += params.learningRate * run.gradient
          run.gradient = 0
          run.step++
          return { gradNorm }
        }),
      createSampler: (samplerId, source) =>
        Effect.map(
          "runId" in source ? Effect.suspend(() => runOf(source.runId)) : Effect.void,
          () => {
            note({ _tag: "CreateSampler", samplerId })
            samplers.add(samplerId)
          }
        ),
      releaseSampler: (samplerId) =>
        Effect.sync(() => {
          note({ _tag: "ReleaseSampler", samplerId })
          samplers.delete(samplerId)
        }),
      sample: (samplerId, request, { onTokens } = {}) =>
        Effect.suspend(() => {
          if (!samplers.has(samplerId)) {
            return Effect.fail(
              new EngineError({ reason: "UnknownSampler", detail: `there is no sampler ${samplerId}` })
            )
          }
          note({ _tag: "Sample", samplerId, request })
          const result = sampleOf(request)
          result.sequences.forEach((sequence, index) => onTokens?.({ index, ...sequence }))
          return Effect.succeed(result)
        })
    }
    const record: Context.Tag.Service<RecordingEngine> = {
      operations: Effect.sync(() => [...operations]),
      applied: log.entries,
      weight: (runId) => Effect.sync(() => runs.get(runId)?.weight)
    }
    return { engine, record, appliedLog: recording ? log.record : () => Effect.void }
  })

/**
 * The engine as the one that a server over it uses, and its record. The server tells it what it applied.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Engine | RecordingEngine | AppliedLog.AppliedLog> =>
  Layer.effectContext(Effect.map(make(options), ({ appliedLog, engine, record }) =>
    Context.make(Engine, engine).pipe(
      Context.add(RecordingEngine, record),
      Context.add(AppliedLog.AppliedLog, appliedLog)
    )))
