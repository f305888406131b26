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
import { checkTokens, int32s, kindOf } from "./numbers.js"
import { Int32List } from "./NumericArray.js"
import { refuse } from "./refuse.js"

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
 * An input of one text chunk. The ids are kept as given, not copied. Throws `InvalidInput` (see `attempt`) for what is no token
 * id: text, `undefined`, a hole, a fraction, a number below 0 or beyond 32 bits.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromTokens = (tokens: Tokens): ModelInput => {
  checkTokens(tokens, "tokens")
  return { chunks: [{ type: "encoded_text", tokens }] }
}

/**
 * An input of the given chunks. Throws `InvalidInput` where `validate` does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromChunks = (...chunks: ReadonlyArray<Chunk>): ModelInput => validate({ chunks })

/**
 * An input from either form that methods accept: token ids, or an input, which is returned as it is. Throws `InvalidInput` where
 * `validate` does; `field` is the name that the error shows.
 *
 * @since 0.1.0
 * @category constructors
 */
export const from = (input: ModelInput | Tokens, field = ""): ModelInput => {
  if (isModelInput(input)) return validate(input, field)
  checkTokens(input, field === "" ? "tokens" : `${field}.tokens`)
  return { chunks: [{ type: "encoded_text", tokens: input }] }
}

const validateChunk = (chunk: Chunk, field: string): void => {
  if (!Predicate.isRecord(chunk)) return refuse(field, "a chunk", kindOf(chunk))
  switch (chunk.type) {
    case "encoded_text":
      return checkTokens(chunk.tokens, `${field}.tokens`)
    case "dmel":
      if (!(chunk.dmel instanceof Uint8Array)) refuse(`${field}.dmel`, "a Uint8Array", kindOf(chunk.dmel))
      return
    case "image":
    case "image_asset_pointer": {
      const { expectedTokens } = chunk
      if (chunk.type === "image" && !(chunk.data instanceof Uint8Array)) {
        refuse(`${field}.data`, "a Uint8Array", kindOf(chunk.data))
      }
      if (chunk.type === "image_asset_pointer" && typeof chunk.location !== "string") {
        refuse(`${field}.location`, "text", kindOf(chunk.location))
      }
      if (typeof chunk.format !== "string") refuse(`${field}.format`, "png or jpeg", kindOf(chunk.format))
      if (expectedTokens !== undefined && !(Number.isSafeInteger(expectedTokens) && expectedTokens >= 0)) {
        refuse(`${field}.expectedTokens`, "a whole number from 0", kindOf(expectedTokens))
      }
      return
    }
    default:
      return refuse(`${field}.type`, "encoded_text, image, image_asset_pointer or dmel", "another type")
  }
}

/**
 * The input itself when every chunk is what its type says and every token is one, otherwise throws `InvalidInput`. `field` is
 * the name that the error shows.
 *
 * @since 0.2.0
 * @category guards
 */
export const validate = (self: ModelInput, field = ""): ModelInput => {
  const at = field === "" ? "chunks" : `${field}.chunks`
  if (!isModelInput(self)) return refuse(at, "a list of chunks", kindOf(self))
  for (let i = 0; i < self.chunks.length; i++) validateChunk(self.chunks[i]!, `${at}[${i}]`)
  return self
}

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
    // only chunks have a type
    ...(Predicate.hasProperty(that, "type") ? fromChunks(that as Chunk) : from(that as Tokens | ModelInput)).chunks
  ]
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
 * All token ids in order. Throws `InvalidInput` when a chunk is not text, or holds what is no 32-bit integer. Without copy when there is one typed chunk.
 *
 * @since 0.1.0
 * @category getters
 */
export const tokens = (self: ModelInput): Int32Array => {
  const parts: Array<Int32Array> = []
  let total = 0
  for (let i = 0; i < self.chunks.length; i++) {
    const chunk = self.chunks[i]!
    if (chunk.type !== "encoded_text") {
      throw new InvalidInput({ field: `chunks[${i}]`, expected: "text only", actual: `a chunk of type ${chunk.type}` })
    }
    // ids below 0 are for those to refuse who know the vocabulary
    const part = int32s(chunk.tokens, `chunks[${i}].tokens`)
    parts.push(part)
    total += part.length
  }
  if (parts.length === 1) return parts[0]!
  const out = new Int32Array(total)
  let offset = 0
  for (const part of parts) {
    out.set(part, offset)
    offset += part.length
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
 * A chunk in JSON (docs/protocol/data.md#what-a-model-reads).
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
