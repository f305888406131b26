/**
 * Where tokenizers come from: the bundle, a folder, the Hugging Face hub.
 *
 * @since 0.1.0
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { diskCached, fileNames, folderFiles, type RepositoryFiles } from "./internal/files.js"
import * as Hub from "./internal/hub.js"
import { fromTiktoken } from "./internal/tiktoken.js"
import * as Tokenizer from "./Tokenizer.js"
import type { TokenizerError } from "./TokenizerError.js"

/**
 * Gives the tokenizer of a resolved id, or none when it has no such tokenizer and the next source is to be asked.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenizerSource = (id: string) => Effect.Effect<Option.Option<Tokenizer.Tokenizer>, TokenizerError>

/**
 * What ships with the package: the tokenizer of `tinkex/nano` and `tinkex/nano-random`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const bundle: TokenizerSource = (id) =>
  Effect.succeed(id === "tinkex/nano" || id === "tinkex/nano-random" ? Option.some(Tokenizer.nano) : Option.none())

const fromFiles = (files: RepositoryFiles): TokenizerSource =>
  Effect.fnUntraced(function*(id) {
    const tokenizerJson = yield* files(id, fileNames.tokenizer)
    const configJson = Option.getOrUndefined(yield* files(id, fileNames.config))
    if (Option.isSome(tokenizerJson)) {
      return Option.some(yield* Tokenizer.fromJson({ id, tokenizerJson: tokenizerJson.value, configJson }))
    }
    const ranks = yield* files(id, fileNames.tiktoken)
    return Option.isSome(ranks)
      ? Option.some(yield* fromTiktoken({ id, ranks: ranks.value, configJson: configJson ?? "{}" }))
      : Option.none()
  })

/**
 * A folder with one folder per tokenizer, named as its id: `<directory>/Qwen/Qwen3-8B/tokenizer.json`, with
 * `tokenizer_config.json` beside it; or, for tokenizers that have no `tokenizer.json`, `tiktoken.model`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const folder = (directory: string): Effect.Effect<TokenizerSource, never, FileSystem.FileSystem> =>
  Effect.map(FileSystem.FileSystem, (fs) => fromFiles(folderFiles(fs, directory)))

/**
 * - `token`: for gated repositories; sent to the hub's own host only.
 * - `endpoint`: a mirror of the hub. Default `https://huggingface.co`.
 *
 * @since 0.1.0
 * @category models
 */
export interface HubOptions {
  readonly token?: Redacted.Redacted<string> | undefined
  readonly endpoint?: string | undefined
}

/**
 * The Hugging Face hub. Each file is asked for with a time limit of 60 s and up to three more times when the hub cannot be
 * reached; models for which the official SDK pins a revision get that revision.
 *
 * @since 0.1.0
 * @category constructors
 */
export const hub = (options: HubOptions = {}): Effect.Effect<TokenizerSource, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => fromFiles(Hub.files(client, options)))

/**
 * What ships with the package, or else what the server itself has: `tinkex serve` gives out the tokenizers of the models
 * that it has out of files, under the paths of a hub. A server that has none, or does not know the question, gives none.
 *
 * @since 0.2.0
 * @category constructors
 */
export const server = (options: {
  readonly baseUrl: string
  readonly apiKey?: Redacted.Redacted | undefined
}): Effect.Effect<TokenizerSource, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client) => {
    const asked = fromFiles(Hub.files(client, { endpoint: options.baseUrl, token: options.apiKey, retries: 0 }))
    return (id) =>
      Effect.flatMap(bundle(id), (bundled) =>
        Option.isSome(bundled)
          ? Effect.succeed(bundled)
          : Effect.orElseSucceed(asked(id), () => Option.none<Tokenizer.Tokenizer>()))
  })

/**
 * The hub, with what it gave kept in a folder: a file that is there is not asked for again. Files appear whole or not at all,
 * so that processes can share the folder. Delete it to see changes that a repository made to its tokenizer.
 *
 * @since 0.1.0
 * @category constructors
 */
export const hubCached = (
  options: HubOptions & { readonly directory: string }
): Effect.Effect<TokenizerSource, never, HttpClient.HttpClient | FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient
    const fs = yield* FileSystem.FileSystem
    return fromFiles(diskCached(Hub.files(client, options), fs, options.directory, Hub.revisionOf))
  })
