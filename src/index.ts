/**
 * tinkex: fine-tune and sample open-weight language models as typed, composable, interruptible Effects.
 *
 * @since 0.1.0
 */

/**
 * The audit log of an organisation (wire-protocol 3.11, SDK 0.38).
 *
 * @since 0.1.0
 */
export * as Audit from "./protocol/Audit.js"

/**
 * What was used and what it costs (wire-protocol 3.12, SDK 0.38).
 *
 * @since 0.1.0
 */
export * as Billing from "./protocol/Billing.js"

/**
 * Saved checkpoints and the training runs that they belong to.
 *
 * @since 0.1.0
 */
export * as Checkpoint from "./protocol/Checkpoint.js"

/**
 * One training example: what the model reads and what the loss needs.
 *
 * @since 0.1.0
 */
export * as Datum from "./protocol/Datum.js"

/**
 * Requests whose result comes later, and the answers to polling for it.
 *
 * @since 0.1.0
 */
export * as Futures from "./protocol/Futures.js"

/**
 * The error of data that was refused before anything was sent or changed.
 *
 * @since 0.1.0
 */
export * as InvalidInput from "./protocol/InvalidInput.js"

/**
 * The error of bytes or JSON that are not what the protocol says.
 *
 * @since 0.1.0
 */
export * as MalformedMessage from "./protocol/MalformedMessage.js"

/**
 * Creating, describing and unloading the models that are trained.
 *
 * @since 0.1.0
 */
export * as Model from "./protocol/Model.js"

/**
 * What a model reads: a sequence of text, image and audio chunks.
 *
 * @since 0.1.0
 */
export * as ModelInput from "./protocol/ModelInput.js"

/**
 * Schemas for long lists of numbers that check them in one pass, without one schema node per element.
 *
 * @since 0.1.0
 */
export * as NumericArray from "./protocol/NumericArray.js"

/**
 * Sampling requests and their results.
 *
 * @since 0.1.0
 */
export * as Sampling from "./protocol/Sampling.js"

/**
 * What a service tells its clients: settings, limits, models, health, tokens.
 *
 * @since 0.1.0
 */
export * as Service from "./protocol/Service.js"

/**
 * Sessions: what a client opens, keeps alive and finishes, and how they are listed.
 *
 * @since 0.1.0
 */
export * as Session from "./protocol/Session.js"

/**
 * Events that a client reports to the service (wire-protocol 3.14).
 *
 * @since 0.1.0
 */
export * as TelemetryEvents from "./protocol/TelemetryEvents.js"

/**
 * Tensors of the wire: flat data with a dtype and a shape, dense or sparse.
 *
 * @since 0.1.0
 */
export * as TensorData from "./protocol/TensorData.js"

/**
 * Addresses of checkpoints, `tinker://<run>/<kind>/<name>`, and their form in URLs.
 *
 * @since 0.1.0
 */
export * as TinkerPath from "./protocol/TinkerPath.js"

/**
 * Requests and results of training: losses, optimiser steps, LoRA settings.
 *
 * @since 0.1.0
 */
export * as Training from "./protocol/Training.js"

/**
 * The version of this package, as it introduces itself on the wire. Written from package.json.
 *
 * @since 0.1.0
 */
export * as Version from "./protocol/Version.js"

/**
 * Saving and loading weights.
 *
 * @since 0.1.0
 */
export * as Weights from "./protocol/Weights.js"

/**
 * The catalogue of built-in metrics: names, kinds, units, labels and what they mean.
 *
 * @since 0.1.0
 */
export * as MetricNames from "./observability/MetricNames.js"

/**
 * What metrics say when they are read: plain data, ready for `JSON.stringify`.
 *
 * @since 0.1.0
 */
export * as MetricSnapshot from "./observability/MetricSnapshot.js"

/**
 * Quantiles of a stream of numbers in bounded memory, with a relative error that is proven.
 *
 * @since 0.1.0
 */
export * as QuantileSketch from "./observability/QuantileSketch.js"

/**
 * Mean and standard deviation over a sliding window of time.
 *
 * @since 0.1.0
 */
export * as Summary from "./observability/Summary.js"

/**
 * What happens inside, as plain data: ids, counts and times, never a key, a prompt or a tensor.
 *
 * @since 0.1.0
 */
export * as TelemetryEvent from "./observability/TelemetryEvent.js"

/**
 * Text to tokens and back: a tokenizer as a plain value.
 *
 * @since 0.1.0
 */
export * as Tokenizer from "./tokenizer/Tokenizer.js"

/**
 * The error of loading a tokenizer, or of tokens that it does not have.
 *
 * @since 0.1.0
 */
export * as TokenizerError from "./tokenizer/TokenizerError.js"

/**
 * Where tokenizers come from: the bundle, a folder, the Hugging Face hub.
 *
 * @since 0.1.0
 */
export * as TokenizerSource from "./tokenizer/TokenizerSource.js"

/**
 * The tokenizers of models by name, each loaded once.
 *
 * @since 0.1.0
 */
export * as Tokenizers from "./tokenizer/Tokenizers.js"

/**
 * Settings of a client, from options or the environment: where the service is, who asks, how long, how many, how often.
 *
 * @since 0.1.0
 */
export * as TinkexConfig from "./TinkexConfig.js"
