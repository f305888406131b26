/**
 * Names of span attributes, so that every span tells the same thing under the same name.
 *
 * Spans are named after the method that opens them, `Client.method` (`SamplingClient.sample`, `TrainingClient.forwardBackward`),
 * one for each network call of the public interface; HTTP attempts inside are spans of the HTTP client. Attributes hold ids
 * and counts, never contents. The library installs no exporter: spans go to the tracer of the application.
 *
 * @since 0.1.0
 */

/**
 * The attributes of our spans.
 *
 * @since 0.1.0
 * @category constants
 */
export const attributes = {
  /** Class of the call (`TelemetryEvent.Operation`). */
  operation: "tinkex.operation",
  /** Short hash of the tenant, never the key. */
  tenant: "tinkex.tenant",
  sessionId: "tinkex.session_id",
  modelId: "tinkex.model_id",
  baseModel: "tinkex.base_model",
  samplerId: "tinkex.sampler_id",
  /** Id of the future at the service. */
  requestId: "tinkex.request_id",
  seqId: "tinkex.seq_id",
  lossFn: "tinkex.loss_fn",
  examples: "tinkex.examples",
  chunks: "tinkex.chunks",
  tokens: "tinkex.tokens",
  promptTokens: "tinkex.prompt_tokens",
  maxTokens: "tinkex.max_tokens",
  numSamples: "tinkex.num_samples",
  attempts: "tinkex.attempts",
  pollIterations: "tinkex.poll_iterations"
} as const
