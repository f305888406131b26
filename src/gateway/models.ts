/**
 * From the name in a request to a model that answers: a name given to weights, a path, or a base model.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as Renderer from "../chat/Renderer.js"
import type { RendererError } from "../chat/RendererError.js"
import * as ChatModel from "../client/ChatModel.js"
import type * as ModelRef from "../client/ModelRef.js"
import type * as SamplingClient from "../client/SamplingClient.js"
import { ServiceClient } from "../client/ServiceClient.js"
import type { TinkexError } from "../TinkexError.js"
import type { Tokenizer } from "../tokenizer/Tokenizer.js"
import type { TokenizerError } from "../tokenizer/TokenizerError.js"
import { Tokenizers } from "../tokenizer/Tokenizers.js"
import { GatewayError } from "./errors.js"

/** Samplers that nobody has asked for so long are given back. */
const idle = Duration.minutes(10)

export interface ModelsOptions {
  /** Names of one's own, and the weights behind them. */
  readonly names: ReadonlyMap<string, ModelRef.ModelRef>
  /** The renderer of every model, by name, in place of each one's own. */
  readonly renderer: string | undefined
}

/** A sampler and its tokenizer; with a renderer only where one is asked for. */
export interface Opened {
  /** What it is called where it comes from: a base model or a path. */
  readonly target: string
  readonly sampler: SamplingClient.Client
  readonly tokenizer: Tokenizer
  readonly chat: Effect.Effect<ChatModel.ChatModel, RendererError | TokenizerError>
}

export interface Models {
  /** The model of a name, held until the scope closes: calls under way end on the weights with which they began. */
  readonly open: (
    name: string,
    key: string | undefined
  ) => Effect.Effect<Opened, GatewayError | TinkexError | TokenizerError, Scope.Scope>
  /** Every name that can be asked for: one's own, and the base models of the service. */
  readonly list: Effect.Effect<ReadonlyArray<string>, TinkexError>
}

/** Samplers are opened once for all requests, and kept for a while. */
export const make = (
  options: ModelsOptions
): Effect.Effect<Models, never, ServiceClient | Tokenizers | Scope.Scope> =>
  Effect.gen(function*() {
    const service = yield* ServiceClient
    const tokenizers = yield* Tokenizers
    const base = service.serverCapabilities.pipe(
      Effect.map(({ supportedModels }) => supportedModels.flatMap(({ modelName }) => modelName ?? [])),
      Effect.cachedWithTTL("1 minute")
    )
    const known = yield* base

    const open = (target: string) =>
      Effect.gen(function*() {
        const sampler = yield* service.createSamplingClient(
          target.startsWith("tinker://") ? { modelPath: target } : { baseModel: target }
        )
        const { baseModel } = yield* sampler.getInfo
        const tokenizer = yield* sampler.tokenizer
        const name = options.renderer
        const chat = yield* Effect.cached(
          Renderer.forModel(baseModel, name === undefined ? {} : { name }).pipe(
            Effect.map((renderer) => ChatModel.make(sampler, renderer)),
            Effect.provideService(Tokenizers, tokenizers)
          )
        )
        return { target, sampler, tokenizer, chat } satisfies Opened
      })
    const opened = yield* RcMap.make({ lookup: open, idleTimeToLive: idle })

    const targetOf = (name: string, key: string | undefined): Effect.Effect<string, GatewayError | TinkexError> => {
      const own = options.names.get(name)
      if (own !== undefined) return own.pick(key)
      if (name.startsWith("tinker://")) return Effect.succeed(name)
      return Effect.flatMap(known, (models) =>
        models.includes(name)
          ? Effect.succeed(name)
          : Effect.fail(
            new GatewayError({
              status: 404,
              type: "invalid_request_error",
              code: "model_not_found",
              param: "model",
              detail: `The model ${
                JSON.stringify(name.slice(0, 200))
              } does not exist; GET /v1/models names those that do`
            })
          ))
    }

    return {
      open: (name, key) => Effect.flatMap(targetOf(name, key), (target) => RcMap.get(opened, target)),
      list: Effect.map(known, (models) => [...options.names.keys(), ...models])
    }
  })
