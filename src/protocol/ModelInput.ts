/**
 * What a model reads: a sequence of text, image and audio chunks.
 *
 * @since 0.1.0
 */
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Base64 from "./internal/base64.js"
import { containerDimension } from "./internal/tensorContainer.js"
import { openLiteral, optional } from "./internal/wire.js"
import { InvalidInput } from "./InvalidInput.js"
import { Int32List } from "./NumericArray.js"

/**
 * Token ids, as a typed array or a plain list. Neither is copied by the constructors here.
 *
 * @since 0.1.0
 * @category models
 */
export type Tokens = Int32Array | ReadonlyArray<number>

/**
 * Text that a tokenizer has turned into ids.
 *
 * @since 0.1.0
 * @category models
 */
export interface EncodedTextChunk {
  readonly type: "encoded_text"
  readonly tokens: Tokens
}

/**
 * An image as encoded bytes. `expectedTokens` is advisory; without it the length of the input is not known here.
 *
 * @since 0.1.0
 * @category models
 */
export interface ImageChunk {
  readonly type: "image"
  readonly data: Uint8Array
  readonly format: ImageFormat
  readonly expectedTokens?: number | undefined
}

/**
 * An image that the service fetches itself. Only for sampling: training requests cannot carry it.
 *
 * @since 0.1.0
 * @category models
 */
export interface ImageAssetPointerChunk {
  readonly type: "image_asset_pointer"
  readonly location: string
  readonly format: ImageFormat
  readonly expectedTokens?: number | undefined
}

/**
 * Audio as a serialised tensor of DMel tokens.
 *
 * @since 0.1.0
 * @category models
 */
export interface DmelChunk {
  readonly type: "dmel"
  readonly dmel: Uint8Array
}

/**
 * @since 0.1.0
 * @category models
 */
export type ImageFormat = "png" | "jpeg" | (string & {})

/**
 * One piece of a model input, told apart by `type`.
 *
 * @since 0.1.0
 * @category models
 */
export type Chunk = EncodedTextChunk | ImageChunk | ImageAssetPointerChunk | DmelChunk

/**
 * What a model reads: its chunks in order.
 *
 * @since 0.1.0
 * @category models
 */
export interface ModelInput {
  readonly chunks: ReadonlyArray<Chunk>
}

/**
 * An input without chunks.
 *
 * @since 0.1.0
 * @category constructors
 */
export const empty: ModelInput = { chunks: [] }

/**
 * An input of one text chunk. The ids are kept as given, not copied.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromTokens = (tokens: Tokens): ModelInput => ({ chunks: [{ type: "encoded_text", tokens }] })

/**
 * An input of the given chunks.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromChunks = (...chunks: ReadonlyArray<Chunk>): ModelInput => ({ chunks })

/**
 * An input from either form that methods accept: token ids, or an input, which is returned as it is.
 *
 * @since 0.1.0
 * @category constructors
 */
export const from = (input: ModelInput | Tokens): ModelInput => isModelInput(input) ? input : fromTokens(input)

/**
 * @since 0.1.0
 * @category guards
 */
export const isModelInput = (u: unknown): u is ModelInput =>
  Predicate.hasProperty(u, "chunks") && Array.isArray(u.chunks)

/**
 * The input with a chunk, token ids or another input after it.
 *
 * @since 0.1.0
 * @category combinators
 */
export const append = (self: ModelInput, that: Chunk | Tokens | ModelInput): ModelInput => ({
  chunks: [
    ...self.chunks,
    ...(Predicate.hasProperty(that, "type") ? [that as Chunk] : from(that as Tokens | ModelInput).chunks)
  ] // only chunks have a type
})

/**
 * Length of one chunk in tokens: the ids of a text, `expectedTokens` of an image, the first dimension of a DMel tensor.
 * Throws `InvalidInput` for an image without `expectedTokens` and a malformed DMel header.
 *
 * @since 0.1.0
 * @category getters
 */
export const chunkLength = (chunk: Chunk): number => {
  switch (chunk.type) {
    case "encoded_text":
      return chunk.tokens.length
    case "dmel":
      return containerDimension(chunk.dmel, 0)
    default: {
      if (chunk.expectedTokens === undefined) {
        throw new InvalidInput({
          field: "expectedTokens",
          expected: "a number of tokens for the image",
          actual: "nothing"
        })
      }
      return chunk.expectedTokens
    }
  }
}

/**
 * Length in tokens, over all chunks. Throws `InvalidInput` where `chunkLength` does.
 *
 * @since 0.1.0
 * @category getters
 */
export const length = (self: ModelInput): number => {
  let total = 0
  for (const chunk of self.chunks) total += chunkLength(chunk)
  return total
}

/**
 * All token ids in order. Throws `InvalidInput` when a chunk is not text. Without copy when there is one typed chunk.
 *
 * @since 0.1.0
 * @category getters
 */
export const tokens = (self: ModelInput): Int32Array => {
  let total = 0
  for (let i = 0; i < self.chunks.length; i++) {
    const chunk = self.chunks[i]!
    if (chunk.type !== "encoded_text") {
      throw new InvalidInput({ field: `chunks[${i}]`, expected: "text only", actual: `a chunk of type ${chunk.type}` })
    }
    total += chunk.tokens.length
  }
  const first = self.chunks[0]
  if (self.chunks.length === 1 && first!.type === "encoded_text" && first!.tokens instanceof Int32Array) {
    return first!.tokens
  }
  const out = new Int32Array(total)
  let offset = 0
  for (const chunk of self.chunks) {
    if (chunk.type === "encoded_text") {
      out.set(chunk.tokens, offset)
      offset += chunk.tokens.length
    }
  }
  return out
}

/**
 * Token ids in JSON: read as the parsed list, written from a list or a typed array.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TokensSchema: Schema.Schema<Tokens, ReadonlyArray<number>> = Schema.transform(
  Int32List,
  Schema.declare(
    (u): u is Tokens => u instanceof Int32Array || Array.isArray(u),
    { identifier: "Tokens", arbitrary: () => (fc) => fc.array(fc.integer()) }
  ),
  { strict: true, decode: (list) => list, encode: (list) => list instanceof Int32Array ? Array.from(list) : list }
)

/**
 * Bytes as standard padded base64.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Base64Bytes: Schema.Schema<Uint8Array, string> = Schema.transformOrFail(
  Schema.String,
  Schema.Uint8ArrayFromSelf,
  {
    strict: true,
    decode: (text, _, ast) => {
      const bytes = Base64.decode(text)
      return bytes === undefined
        ? ParseResult.fail(new ParseResult.Type(ast, undefined, "Expected base64"))
        : ParseResult.succeed(bytes)
    },
    encode: (bytes) => ParseResult.succeed(Base64.encode(bytes))
  }
)

const EncodedTextSchema = Schema.Struct({ tokens: TokensSchema, type: Schema.Literal("encoded_text") })

const ImageSchema = Schema.Struct({
  data: Base64Bytes,
  format: openLiteral("png", "jpeg"),
  expectedTokens: optional(Schema.Int, "expected_tokens"),
  type: Schema.Literal("image")
})

const ImageAssetPointerSchema = Schema.Struct({
  format: openLiteral("png", "jpeg"),
  location: Schema.String,
  expectedTokens: optional(Schema.Int, "expected_tokens"),
  type: Schema.Literal("image_asset_pointer")
})

const DmelSchema = Schema.Struct({ dmel: Base64Bytes, type: Schema.Literal("dmel") })

/**
 * A chunk in JSON (wire-protocol 3.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ChunkSchema = Schema.Union(EncodedTextSchema, ImageSchema, ImageAssetPointerSchema, DmelSchema)

/**
 * A model input in JSON: `{"chunks": [...]}`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const ModelInputSchema = Schema.Struct({ chunks: Schema.Array(ChunkSchema) })
