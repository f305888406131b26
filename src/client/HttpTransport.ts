/**
 * The way of every request to the service: breaker, limiter, gate, attempt, repeat.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as CircuitBreaker from "../resilience/CircuitBreaker.js"
import * as ConcurrencyGate from "../resilience/ConcurrencyGate.js"
import * as RateLimiter from "../resilience/RateLimiter.js"
import * as RetryBudget from "../resilience/RetryBudget.js"
import type { Settings } from "../TinkexConfig.js"
import { configured } from "../TinkexConfig/options.js"
import { ConfigurationError } from "../TinkexError.js"
import * as Names from "./options.js"
import * as Events from "./transport/events.js"
import * as json from "./transport/json.js"
import * as internal from "./transport/transport.js"
import type { Body, Parts, Requirements, Transport } from "./transport/types.js"

export type { Answer, Body, Delivery, Parts, Request, Requirements, Transport } from "./transport/types.js"

/**
 * The transport as a service.
 *
 * @since 0.1.0
 * @category services
 */
export class HttpTransport extends Context.Tag("tinkex/HttpTransport")<HttpTransport, Transport>() {}

/**
 * Settings of the shared parts. What is left out has the default of the part.
 *
 * @since 0.1.0
 * @category models
 */
export interface PartsOptions {
  readonly limiter?: RateLimiter.Options | undefined
  readonly breaker?: CircuitBreaker.Settings | undefined
  readonly budget?: RetryBudget.Options | undefined
}

/**
 * The shared parts. What they go through is told to the telemetry in force, once for all transports.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerParts = (options: PartsOptions = {}): Layer.Layer<Parts, ConfigurationError> =>
  Layer.unwrapEffect(Effect.as(checkNames(options), parts(options)))

const checkNames = (options: PartsOptions): Effect.Effect<void, ConfigurationError> =>
  Effect.all([
    configured(Names.parts, options),
    configured(Names.limiter, options.limiter, "limiter"),
    configured(Names.breaker, options.breaker, "breaker"),
    configured(Names.breakerRate, options.breaker?.rate, "breaker.rate"),
    configured(Names.budget, options.budget, "budget")
  ], { discard: true })

const parts = (options: PartsOptions): Layer.Layer<Parts, ConfigurationError> =>
  Layer.provideMerge(
    Layer.scopedDiscard(Events.forward),
    Layer.mergeAll(
      RateLimiter.layer(options.limiter),
      CircuitBreaker.layer(options.breaker),
      ConcurrencyGate.layer({ adaptive: false, pacing: "off" }),
      RetryBudget.layer(options.budget)
    )
  ).pipe(Layer.mapError(({ expected, field, part }) =>
    new ConfigurationError({ setting: `${part}.${field}`, detail: `expected ${expected}` })
  ))

/**
 * A transport for the tenant of the settings, until the scope closes. Its limiter, breakers and gates are those of every
 * transport of that tenant.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: (settings: Settings) => Effect.Effect<Transport, never, Requirements | Scope.Scope> = internal.make

/**
 * A JSON body.
 *
 * @since 0.1.0
 * @category constructors
 */
export const jsonBody: (value: unknown) => Body = json.jsonBody
