/** The methods of a training client as others see them: each in a span, and its telemetry known to what stands above. */
import { globalValue } from "effect/GlobalValue"
import { attributes } from "../../observability/Spans.js"
import type { TelemetryService } from "../../observability/Telemetry.js"
import type { Settings } from "../../TinkexConfig.js"
import { methodSpan, requestIds, sizes } from "../methodSpans.js"
import type { Client } from "../TrainingClient.js"

type Methods = Pick<
  Client,
  | "forward"
  | "forwardBackward"
  | "loadState"
  | "modelId"
  | "optimStep"
  | "saveState"
  | "saveWeightsExternal"
  | "saveWeightsForSampler"
  | "unload"
>

export const inSpans = <C extends Methods>(client: C, settings: Settings): C => {
  if (!settings.tracing) return client
  const span = methodSpan(settings)
  const model = { [attributes.modelId]: client.modelId }
  const pass = (name: "forward" | "forwardBackward"): Client["forward"] => (data, lossFn, config) =>
    span(
      `TrainingClient.${name}`,
      () => ({ ...model, [attributes.lossFn]: lossFn, ...sizes(data) }),
      client[name](data, lossFn, config),
      requestIds
    )
  return {
    ...client,
    forward: pass("forward"),
    forwardBackward: pass("forwardBackward"),
    optimStep: (params) => span("TrainingClient.optimStep", () => model, client.optimStep(params), requestIds),
    saveState: (name, options) =>
      span("TrainingClient.saveState", () => model, client.saveState(name, options), requestIds),
    loadState: (path, options) =>
      span("TrainingClient.loadState", () => model, client.loadState(path, options), requestIds),
    saveWeightsExternal: (name, options) =>
      span("TrainingClient.saveWeightsExternal", () => model, client.saveWeightsExternal(name, options), requestIds),
    saveWeightsForSampler: (name, options) =>
      span(
        "TrainingClient.saveWeightsForSampler",
        () => model,
        client.saveWeightsForSampler(name, options),
        requestIds
      ),
    unload: span("TrainingClient.unload", () => model, client.unload, requestIds)
  }
}

const telemetries = globalValue("tinkex/TrainingClient/telemetry", () => new WeakMap<Client, TelemetryService>())

/** Where losses and batches over a client tell what they do. */
export const telemetryOf = (client: Client): TelemetryService | undefined => telemetries.get(client)

export const tellTo = (client: Client, telemetry: TelemetryService): Client => {
  telemetries.set(client, telemetry)
  return client
}
