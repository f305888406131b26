/**
 * Names of span attributes, so that every span tells the same thing under the same name.
 *
 * Spans are named after the method that opens them, `Client.method` (`SamplingClient.sample`, `TrainingClient.forwardBackward`);
 * the requests inside are spans of their own (`tinkex POST /api/v1/forward_backward`). Attributes hold ids and counts, never
 * contents. The library installs no exporter: spans go to the tracer of the application, and where that is Effect's own, which
 * shows them to nobody, none are opened.
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
  /** Ids of the futures at the service, with commas between them. */
  requestId: "tinkex.request_id",
  lossFn: "tinkex.loss_fn",
  examples: "tinkex.examples",
  tokens: "tinkex.tokens",
  promptTokens: "tinkex.prompt_tokens",
  maxTokens: "tinkex.max_tokens",
  numSamples: "tinkex.num_samples"
} as const
