/**
 * The front door: everything that a program needs to train and sample, but for an HTTP client.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpTransport from "./client/HttpTransport.js"
import * as SamplingRegistry from "./client/SamplingRegistry.js"
import * as ServiceClient from "./client/ServiceClient.js"
import * as Metrics from "./observability/Metrics.js"
import * as TinkexConfig from "./TinkexConfig.js"
import type { ConfigurationError, TinkexError } from "./TinkexError.js"
import * as Tokenizers from "./tokenizer/Tokenizers.js"

/**
 * What clients share, each part kept per tenant: clients of one tenant share limiter, breakers, gates and retry budget, those of
 * different tenants nothing. The registry, the metrics and the tokenizers are for all.
 *
 * @since 0.1.0
 * @category models
 */
export type Shared =
  | HttpTransport.Parts
  | SamplingRegistry.SamplingRegistry
  | Metrics.Metrics
  | Tokenizers.Tokenizers

/**
 * Settings of the shared parts. What is left out has the default of the part.
 *
 * @since 0.1.0
 * @category models
 */
export interface SharedOptions extends HttpTransport.PartsOptions {
  /** `false` switches metrics, and the events behind them, off. */
  readonly metrics?: Metrics.Options | false | undefined
  /** Where tokenizers come from. The built-in models and the Hugging Face hub unless given. */
  readonly tokenizers?: Layer.Layer<Tokenizers.Tokenizers, never, HttpClient.HttpClient> | undefined
}

/**
 * The shared parts: provide them once, and make as many clients over them as wanted (`ServiceClient.make`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerShared = (
  options: SharedOptions = {}
): Layer.Layer<Shared, ConfigurationError, HttpClient.HttpClient> =>
  Layer.mergeAll(
    HttpTransport.layerParts(options),
    SamplingRegistry.layer,
    options.tokenizers ?? Tokenizers.layerHub()
  ).pipe(
    Layer.provideMerge(options.metrics === false ? Metrics.layerDisabled : Metrics.layer(options.metrics))
  )

/**
 * What `layer` and `layerConfig` provide.
 *
 * @since 0.1.0
 * @category models
 */
export type Provided = Shared | ServiceClient.ServiceClient | TinkexConfig.TinkexConfig

const over = (
  config: Layer.Layer<TinkexConfig.TinkexConfig, ConfigurationError>,
  options: SharedOptions
): Layer.Layer<Provided, TinkexError, HttpClient.HttpClient> =>
  Layer.scoped(ServiceClient.ServiceClient, Effect.flatMap(TinkexConfig.TinkexConfig, ServiceClient.make)).pipe(
    Layer.provideMerge(config),
    Layer.provideMerge(layerShared(options))
  )

/**
 * A service client and all that belongs to it, from options alone.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: TinkexConfig.Options & SharedOptions = {}
): Layer.Layer<Provided, TinkexError, HttpClient.HttpClient> => over(TinkexConfig.layer(options), options)

/**
 * A service client and all that belongs to it, from options and, for what they leave out, the environment
 * (`TinkexConfig.environment`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: TinkexConfig.Options & SharedOptions = {}
): Layer.Layer<Provided, TinkexError, HttpClient.HttpClient> => over(TinkexConfig.layerConfig(options), options)
