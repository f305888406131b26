/**
 * The base models of the engine, by their own names and by the aliases that the server was given.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { Engine, type ModelInfo } from "../../engine/Engine.js"
import type { SupportedModel } from "../../protocol/Service.js"
import { badRequest, type Refusal } from "../http/refusal.js"
import { ServerConfig } from "../ServerConfig.js"

/**
 * @since 0.1.0
 * @category services
 */
export class Models extends Context.Tag("tinkex/server/Models")<Models, {
  /** The model of that name or alias. */
  readonly get: (name: string) => Option.Option<ModelInfo>
  /** The same for a request that depends on it: 400 when there is none. */
  readonly require: (name: string) => Effect.Effect<ModelInfo, Refusal>
  /** The model that brought the tokenizer of that id. */
  readonly withTokenizer: (tokenizerId: string) => Option.Option<ModelInfo>
  /** Every name that can be asked for. */
  readonly supported: ReadonlyArray<SupportedModel>
}>() {}

/**
 * @since 0.1.0
 * @category constructors
 */
const make: Effect.Effect<Context.Tag.Service<Models>, never, Engine | ServerConfig> = Effect.gen(function*() {
  const engine = yield* Engine
  const config = yield* ServerConfig
  const byName = new Map(engine.models.map((model) => [model.name, model]))
  for (const [alias, name] of Object.entries(config.aliases)) {
    const model = byName.get(name)
    if (model === undefined) {
      yield* Effect.logWarning(`alias ${alias} is left out: there is no model ${name}`)
    } else if (!byName.has(alias)) {
      byName.set(alias, model)
    }
  }
  const get = (name: string) => Option.fromNullable(byName.get(name))
  return {
    get,
    require: (name) =>
      Option.match(get(name), {
        onNone: () =>
          Effect.fail(badRequest(`base_model: expected one of ${[...byName.keys()].join(", ")}, got another name`)),
        onSome: Effect.succeed
      }),
    supported: [...byName].map(([modelName, model]) => ({
      modelName,
      maxContextLength: model.maxContext,
      trainable: true,
      sampleable: true,
      tokenizerId: model.tokenizerId,
      ...(model.parameters === undefined ? {} : { parameterCount: model.parameters }),
      hasChatTemplate: model.tokenizer !== undefined && hasTemplate(model.tokenizer.configJson)
    })),
    withTokenizer: (id) =>
      Option.fromNullable(
        engine.models.find(({ tokenizer, tokenizerId }) => tokenizer !== undefined && tokenizerId === id)
      )
  }
})

/** Whether a `tokenizer_config.json`, which is one, holds a chat template. */
const hasTemplate = (configJson: string): boolean => {
  const config: unknown = JSON.parse(configJson)
  return Predicate.hasProperty(config, "chat_template") && config.chat_template !== null
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Models, never, Engine | ServerConfig> = Layer.effect(Models, make)
