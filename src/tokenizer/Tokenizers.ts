/**
 * The tokenizers of models by name, each loaded once.
 *
 * @since 0.1.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Cache from "effect/Cache"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import type * as ModelInput from "../protocol/ModelInput.js"
import * as Tokenizer from "./Tokenizer.js"
import { TokenizerError } from "./TokenizerError.js"
import * as TokenizerSource from "./TokenizerSource.js"

/**
 * A model whose tokenizer is wanted: its name and, where the server told it (`get_info`), the id of its tokenizer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Model {
  readonly modelName: string
  readonly tokenizerId?: string | undefined
}

/**
 * Loads the tokenizers of models. Many names lead to one tokenizer: what is kept, for the life of the layer, goes by the
 * resolved id. Callers that ask for one at the same time share its loading; a caller that goes away stops only its own wait;
 * a failure is not kept.
 *
 * @since 0.1.0
 * @category services
 */
export class Tokenizers extends Context.Tag("tinkex/Tokenizers")<Tokenizers, {
  readonly get: (model: Model) => Effect.Effect<Tokenizer.Tokenizer, TokenizerError>
}>() {}

const beforeColon = (name: string): string => name.split(":")[0] ?? name

/** Names under which the official SDK looks for another repository. */
const aliases: Readonly<Record<string, string>> = { "moonshotai/Kimi-K2.5-Text-Only": "moonshotai/Kimi-K2.5" }

/**
 * The id of a model's tokenizer (docs/protocol/training.md#models): what the server said, up to a `:`; otherwise, for
 * `meta-llama/Llama-3...`, a copy that is not gated; for names of three parts the first two; else the name.
 *
 * @since 0.1.0
 * @category getters
 */
export const resolveId = (model: Model): string => {
  const said = model.tokenizerId === undefined ? "" : beforeColon(model.tokenizerId)
  if (said !== "") return Object.hasOwn(aliases, said) ? aliases[said]! : said
  const name = beforeColon(model.modelName)
  if (name.startsWith("meta-llama/Llama-3")) return "thinkingmachineslabinc/meta-llama-3-instruct-tokenizer"
  const parts = name.split("/")
  return Object.hasOwn(aliases, name) ? aliases[name]! : parts.length === 3 ? `${parts[0]}/${parts[1]}` : name
}

const notFound = (id: string): TokenizerError =>
  new TokenizerError({
    reason: "NotFound",
    id,
    detail: /^(TML|thinkingmachines)\//.test(id)
      ? "Thinking Machines publishes no tokenizer files for this model; add a TokenizerSource that has them"
      : "no source has it; check the name, or add a source (Tokenizers.layerFolder, Tokenizers.layerHub)"
  })

/**
 * The service over sources, which are asked in order.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  sources: ReadonlyArray<TokenizerSource.TokenizerSource>
): Effect.Effect<Context.Tag.Service<Tokenizers>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Scope.Scope
    const load = Effect.fn("Tokenizers.load")(function*(id: string) {
      yield* Effect.annotateCurrentSpan({ tokenizer: id })
      for (const source of sources) {
        const found = yield* source(id)
        if (Option.isSome(found)) return found.value
      }
      return yield* notFound(id)
    })
    const cache = yield* Cache.make({
      capacity: 32, // as the official SDK keeps
      timeToLive: Duration.infinity,
      lookup: (id: string) => Effect.forkIn(load(id), scope)
    })
    return {
      get: (model) => {
        const id = resolveId(model)
        // Awaited, not joined: joining would bring the fiber refs of the fiber that loaded into the caller's
        return Effect.flatMap(cache.get(id), (fiber) =>
          Effect.tapErrorCause(
            Effect.flatten(Fiber.await(fiber)),
            () => cache.invalidateWhen(id, (current) => current === fiber)
          ))
      }
    }
  })

/**
 * The service over the given sources, in order.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSources = <E, R>(
  ...sources: ReadonlyArray<Effect.Effect<TokenizerSource.TokenizerSource, E, R>>
): Layer.Layer<Tokenizers, E, R> => Layer.scoped(Tokenizers, Effect.flatMap(Effect.all(sources), make))

const bundle = Effect.succeed(TokenizerSource.bundle)

/**
 * The built-in models only: needs nothing, reads nothing.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Tokenizers> = layerSources(bundle)

/**
 * The built-in models and a folder of tokenizers (`TokenizerSource.folder`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFolder = (directory: string): Layer.Layer<Tokenizers, never, FileSystem.FileSystem> =>
  layerSources(bundle, TokenizerSource.folder(directory))

/**
 * The built-in models and the Hugging Face hub; what is loaded is kept in memory.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHub = (
  options?: TokenizerSource.HubOptions
): Layer.Layer<Tokenizers, never, HttpClient.HttpClient> => layerSources(bundle, TokenizerSource.hub(options))

/**
 * The built-in models and the Hugging Face hub, whose files are kept in a folder (`TokenizerSource.hubCached`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHubCached = (
  options: TokenizerSource.HubOptions & { readonly directory: string }
): Layer.Layer<Tokenizers, never, HttpClient.HttpClient | FileSystem.FileSystem> =>
  layerSources(bundle, TokenizerSource.hubCached(options))

/**
 * Options of the hub from configuration: `HF_TOKEN` and `HF_ENDPOINT`, both optional; blank counts as unset.
 *
 * @since 0.1.0
 * @category constructors
 */
export const hubConfig: Config.Config<TokenizerSource.HubOptions> = Config.all({
  token: Config.option(Config.redacted("HF_TOKEN")),
  endpoint: Config.option(Config.string("HF_ENDPOINT"))
}).pipe(Config.map(({ endpoint, token }) => ({
  token: Option.getOrUndefined(Option.filter(token, (secret) => Redacted.value(secret).trim() !== "")),
  endpoint: Option.getOrUndefined(Option.filter(endpoint, (url) => url.trim() !== ""))
})))

/**
 * `layerHub` with its options from configuration (`hubConfig`).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHubConfig: Layer.Layer<Tokenizers, ConfigError.ConfigError, HttpClient.HttpClient> = Layer
  .unwrapEffect(
    Effect.map(hubConfig, layerHub)
  )

/**
 * A model input of the tokens of a text, in one chunk, by the tokenizer of a model. No chat template is applied.
 *
 * @since 0.1.0
 * @category combinators
 */
export const modelInput = (
  text: string,
  model: Model
): Effect.Effect<ModelInput.ModelInput, TokenizerError, Tokenizers> =>
  Effect.flatMap(
    Tokenizers,
    (tokenizers) => Effect.map(tokenizers.get(model), (tokenizer) => Tokenizer.modelInput(tokenizer, text))
  )
