/**
 * The engine, with its work counted for `/metrics`.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Engine } from "../../engine/Engine.js"

/**
 * What the engine did since the server started. Only what succeeded counts.
 *
 * @internal
 */
export interface Counts {
  steps: number
  /** Of passes with gradients. */
  tokensTrained: number
  tokensPrompted: number
  tokensSampled: number
}

/** @internal */
export class Work extends Context.Tag("tinkex/server/Work")<Work, Readonly<Counts>>() {}

/** @internal */
export const layer: Layer.Layer<Engine | Work, never, Engine> = Layer.effectContext(
  Effect.map(Engine, (engine) => {
    const counts: Counts = { steps: 0, tokensTrained: 0, tokensPrompted: 0, tokensSampled: 0 }
    const counted: typeof Engine.Service = {
      ...engine,
      pass: (runId, request) =>
        Effect.tap(engine.pass(runId, request), () =>
          Effect.sync(() => {
            if (request.backward) { for (const { tokens } of request.data) counts.tokensTrained += tokens.length }
          })),
      optimStep: (runId, params) =>
        Effect.tap(engine.optimStep(runId, params), () => Effect.sync(() => counts.steps++)),
      sample: (samplerId, request, options) =>
        Effect.tap(engine.sample(samplerId, request, options), ({ sequences }) =>
          Effect.sync(() => {
            counts.tokensPrompted += request.prompt.length
            for (const { tokens } of sequences) counts.tokensSampled += tokens.length
          }))
    }
    return Context.make(Engine, counted).pipe(Context.add(Work, counts))
  })
)
