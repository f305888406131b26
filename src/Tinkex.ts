/**
 * The front door: everything that a program needs to train and sample, but for an HTTP client.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as HttpTransport from "./client/HttpTransport.js"
import * as Names from "./client/options.js"
import * as SamplingRegistry from "./client/SamplingRegistry.js"
import * as ServiceClient from "./client/ServiceClient.js"
import * as Metrics from "./observability/Metrics.js"
import { known } from "./protocol/options.js"
import * as TinkexConfig from "./TinkexConfig.js"
import { config as configNames, configured, configuredAll } from "./TinkexConfig/options.js"
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
  readonly tokenizers?: Layer.Layer<Tokenizers.Tokenizers, ConfigurationError, HttpClient.HttpClient> | undefined
}

const sharedNames = known<SharedOptions>("what clients share", Names.shared.names)

/**
 * The shared parts: provide them once, and make as many clients over them as wanted (`ServiceClient.make`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerShared = (
  options: SharedOptions = {}
): Layer.Layer<Shared, ConfigurationError, HttpClient.HttpClient> =>
  Layer.unwrapEffect(Effect.map(configured(sharedNames, options), () =>
    Layer.mergeAll(
      HttpTransport.layerParts(Names.parts.pick(options)),
      SamplingRegistry.layer,
      options.tokenizers ?? Tokenizers.layerHub()
    ).pipe(
      Layer.provideMerge(options.metrics === false ? Metrics.layerDisabled : Metrics.layer(options.metrics))
    )))

/**
 * What `layer` and `layerConfig` provide.
 *
 * @since 0.1.0
 * @category models
 */
export type Provided = Shared | ServiceClient.ServiceClient | TinkexConfig.TinkexConfig

const over = (
  config: (options: TinkexConfig.Options) => Layer.Layer<TinkexConfig.TinkexConfig, ConfigurationError>,
  options: TinkexConfig.Options & SharedOptions
): Layer.Layer<Provided, TinkexError, HttpClient.HttpClient> =>
  Layer.unwrapEffect(
    Effect.map(configuredAll("a client and what clients share", [configNames, sharedNames], options), () =>
      Layer.scoped(ServiceClient.ServiceClient, Effect.flatMap(TinkexConfig.TinkexConfig, ServiceClient.make)).pipe(
        Layer.provideMerge(config(configNames.pick(options))),
        Layer.provideMerge(layerShared(sharedNames.pick(options)))
      ))
  )

/**
 * A service client and all that belongs to it, from options alone.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: TinkexConfig.Options & SharedOptions = {}
): Layer.Layer<Provided, TinkexError, HttpClient.HttpClient> => over(TinkexConfig.layer, options)

const hubFromEnvironment = Layer.mapError(Tokenizers.layerHubConfig, TinkexConfig.fromConfigError)

/**
 * A service client and all that belongs to it, from options and, for what they leave out, the environment
 * (`TinkexConfig.environment`; `HF_TOKEN` and `HF_ENDPOINT` for tokenizers).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: TinkexConfig.Options & SharedOptions = {}
): Layer.Layer<Provided, TinkexError, HttpClient.HttpClient> =>
  over(TinkexConfig.layerConfig, { ...options, tokenizers: options.tokenizers ?? hubFromEnvironment })
