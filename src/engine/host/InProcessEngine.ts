/**
 * The engine on the calling thread, for tests and for places without workers: same results, but its work takes turns with
 * the program's own, a few tens of milliseconds at a time.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Engine } from "../Engine.js"
import type { EngineOptions } from "../EngineOptions.js"
import { makeCore } from "./core.js"
import { type Outcome, pack } from "./messages.js"
import { makePump } from "./pump.js"
import { makeService } from "./service.js"
import { settings } from "./settings.js"

/**
 * Makes an engine that lives until the scope closes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: EngineOptions = {}
): Effect.Effect<Context.Tag.Service<typeof Engine>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const { limits, models, sampledLogprobs } = settings(options)
        const core = makeCore({
          models,
          sampledLogprobs,
          limits,
          // Turns are shared by real time, whatever clock a test has put in place.
          now: () => performance.now(),
          peers: { rank: 0, size: 1, send: () => {} }
        })
        const pending = new Set<(outcome: Outcome) => void>()
        let crashed: string | undefined
        const crash = (detail: string): void => {
          crashed = detail
          pump.stop()
          for (const done of pending) done({ ok: false, reason: "Crashed", detail })
        }
        const guard = <A>(body: () => A, otherwise: A): A => {
          try {
            return body()
          } catch (error) {
            crash(`the engine has failed and its runs and samplers are lost: ${String(error)}; start it again`)
            return otherwise
          }
        }
        const pump = makePump(() => guard(core.slice, false))
        let next = 0
        const service = makeService(models, (operation, done, onTokens) => {
          if (crashed !== undefined) {
            done({ ok: false, reason: "Crashed", detail: crashed })
            return () => {}
          }
          const settle = (outcome: Outcome): void => {
            if (pending.delete(settle)) done(outcome)
          }
          pending.add(settle)
          // What the caller does to its arrays afterwards does not reach an operation that waits its turn.
          const cancel = guard(() => core.submit(next++, pack(operation).value, settle, onTokens), () => {})
          pump.wake()
          return () => {
            pending.delete(settle)
            cancel()
          }
        })
        return { crash, service }
      }),
      ({ crash }) => Effect.sync(() => crash("the engine has been closed"))
    ),
    ({ service }) => service
  )

/**
 * The engine as a layer. Its models are ready at once; nothing is computed before it is asked for.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: EngineOptions = {}): Layer.Layer<Engine> => Layer.scoped(Engine, make(options))
