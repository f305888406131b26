/** Services: what happens when one is opened, and how models come to be. */
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
import type * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { attributes } from "../../observability/Spans.js"
import { Telemetry } from "../../observability/Telemetry.js"
import { attempt } from "../../protocol/InvalidInput.js"
import * as Protocol from "../../protocol/Service.js"
import * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import * as TinkexConfig from "../../TinkexConfig.js"
import { mayHaveArrived, type TinkexError } from "../../TinkexError.js"
import { make as makeTokenizers, Tokenizers } from "../../tokenizer/Tokenizers.js"
import * as TokenizerSource from "../../tokenizer/TokenizerSource.js"
import * as Futures from "../future/future.js"
import { methodSpan } from "../methodSpans.js"
import * as Monotonic from "../monotonic.js"
import * as Reports from "../reporting/reports.js"
import * as TelemetryReporter from "../reporting/telemetryReporter.js"
import * as SamplingClient from "../sampling/samplingClient.js"
import { SamplingRegistry } from "../SamplingRegistry.js"
import type { Client, TypeId as ServiceClientTypeId } from "../ServiceClient.js"
import * as Transport from "../transport/transport.js"
import type { Requirements } from "../transport/types.js"
import { connect } from "./connection.js"
import { type Core, makeCounter, type Outstanding } from "./core.js"
import * as Models from "./models.js"
import * as Session from "./session.js"

export const TypeId: ServiceClientTypeId = Symbol.for("tinkex/ServiceClient") as ServiceClientTypeId

const Proto = {
  ...Inspectable.BaseProto,
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  },
  toJSON(this: Client) {
    return { _id: "tinkex/ServiceClient", sessionId: this.sessionId, settings: this.settings.toJSON() }
  }
}

/** Tokenizers that the server itself has, and behind it those of everybody. */
const serverFirst = (settings: TinkexConfig.Settings, others: Core["tokenizers"]) =>
  Effect.flatMap(
    TokenizerSource.server(settings),
    (own) => makeTokenizers([own, (id) => Effect.asSome(others.get({ modelName: id, tokenizerId: id }))])
  )

export const make = (
  given: TinkexConfig.Settings | TinkexConfig.Options
): Effect.Effect<Client, TinkexError, Requirements | SamplingRegistry | Tokenizers | Scope.Scope> =>
  Effect.gen(function*() {
    const settings = TinkexConfig.isSettings(given) ? given : yield* TinkexConfig.make(given)
    const telemetry = yield* Telemetry
    const registry = yield* SamplingRegistry
    const tokenizers = settings.hosted ? yield* Tokenizers : yield* serverFirst(settings, yield* Tokenizers)
    const unwatched = yield* Transport.make(settings)
    const { config, dynamic, limits } = yield* connect(unwatched)
    const session = yield* Effect.mapError(Session.open(unwatched, telemetry), mayHaveArrived)
    const reporter = yield* TelemetryReporter.make({ transport: unwatched, sessionId: session.id })
    const transport = Reports.watched(unwatched, reporter)
    const scope = yield* Effect.scope
    const outstanding = new Set<Outstanding>()
    const core: Core = {
      transport,
      telemetry,
      session,
      reporter,
      config,
      limits,
      dynamic,
      registry,
      tokenizers,
      responses: yield* Effect.orDie(
        ConcurrencyGate.make(`${session.id}/responses`, {
          permits: Number.POSITIVE_INFINITY,
          bytes: config.inflightResponseBytes,
          adaptive: false,
          pacing: "off"
        })
      ),
      outstanding,
      models: makeCounter(),
      samplers: makeCounter(),
      scope
    }
    const home = yield* Futures.makeHome(`service client of session ${session.id}`)

    const models = Models.make(core, home)

    const fields: Omit<Client, keyof typeof Proto> = {
      settings,
      transport,
      reporter,
      sessionId: session.id,
      sessionState: SubscriptionRef.get(session.state),
      sessionChanges: session.state.changes,
      clientConfig: config,
      createLoraTrainingClient: (options) =>
        methodSpan(settings)(
          "ServiceClient.createLoraTrainingClient",
          () => ({ [attributes.sessionId]: session.id, [attributes.baseModel]: options?.baseModel }),
          Effect.flatMap(
            attempt(() => Models.checkedLora(options)),
            ({ baseModel, lora }) => models.createLora(baseModel, lora, options.userMetadata)
          ),
          ({ modelId }) => ({ [attributes.modelId]: modelId })
        ),
      createTrainingClientFromState: models.fromState(false),
      createTrainingClientFromStateWithOptimizer: models.fromState(true),
      createSamplingClient: (options) => SamplingClient.create(core, options),
      serverCapabilities: transport.json({
        operation: "get_server_capabilities",
        method: "GET",
        path: "get_server_capabilities",
        pool: "service"
      }, Protocol.ServerCapabilities),
      tokenizer: (model) => tokenizers.get(typeof model === "string" ? { modelName: model } : model),
      pending: Effect.map(Monotonic.millis, (now) => Array.from(outstanding, (one) => one.describe(now)))
    }
    return Object.assign(Object.create(Proto), fields)
  })
