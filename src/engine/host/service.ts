/**
 * The engine's service over anything that takes operations and answers later.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { type Engine, EngineError } from "../Engine.js"
import { info, type ModelDefinition } from "../model/Models.js"
import type { OnTokens, Operation, OperationName, Operations, Outcome } from "./messages.js"

/** Takes an operation; calls `done` once, and `onTokens` before it, unless what it returns is called first. */
export type Submit = (operation: Operation, done: (outcome: Outcome) => void, onTokens?: OnTokens) => () => void

const word = Random.nextIntBetween(0, 2 ** 32)

/** An unpredictable 64-bit seed. */
const freshSeed = Effect.zipWith(word, word, (low, high) => BigInt(low) | (BigInt(high) << 32n))

export const makeService = (
  models: ReadonlyArray<ModelDefinition>,
  submit: Submit
): Context.Tag.Service<typeof Engine> => {
  const call = <K extends OperationName>(
    name: K,
    input: Operations[K]["input"],
    onTokens?: OnTokens
  ): Effect.Effect<Operations[K]["output"], EngineError> =>
    Effect.async((resume) => {
      // The name and the input belong together, and so does the value of the outcome.
      const cancel = submit({ name, input } as Operation, (outcome) =>
        resume(
          outcome.ok
            ? Effect.succeed(outcome.value as Operations[K]["output"])
            : Effect.fail(new EngineError({ reason: outcome.reason, detail: outcome.detail }))
        ), onTokens)
      return Effect.sync(cancel)
    })
  return {
    models: models.map(info),
    createRun: (runId, options) => call("createRun", { runId, ...options }),
    importRun: (runId, state, options) => call("importRun", { runId, state, ...options }),
    loadRun: (runId, state, options) => call("loadRun", { runId, state, ...options }),
    exportRun: (runId, options) => call("exportRun", { runId, ...options }),
    // Fails only with a crashed engine, which has released everything.
    releaseRun: (runId) => Effect.ignore(call("releaseRun", { runId })),
    pass: (runId, request) => call("pass", { runId, request }),
    optimStep: (runId, params) => call("optimStep", { runId, params }),
    createSampler: (samplerId, source) => call("createSampler", { samplerId, source }),
    releaseSampler: (samplerId) => Effect.ignore(call("releaseSampler", { samplerId })),
    sample: (samplerId, request, { onTokens } = {}) =>
      Effect.flatMap(
        request.seed === undefined ? freshSeed : Effect.succeed(request.seed),
        (seed) =>
          call("sample", { samplerId, request: { ...request, seed }, streams: onTokens !== undefined }, onTokens)
      )
  }
}
