/**
 * What the engine must know of a tokenizer: the bytes of its tokens, in which stop strings are looked for. Out of a
 * Hugging Face `tokenizer.json`.
 */
import { isObject, type JsonObject } from "./json.js"
import { fail } from "./problem.js"
import { packTokenBytes, type TokenBytes } from "./tokenBytes.js"

/** The characters by which byte-level vocabularies write the 256 bytes (GPT-2's `bytes_to_unicode`). */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173)
  const bytes = Array.from({ length: 256 }, (_, byte) => byte)
  const others = bytes.filter((byte) => !printable(byte))
  return new Map(
    bytes.map((byte) => [String.fromCodePoint(printable(byte) ? byte : 256 + others.indexOf(byte)), byte])
  )
})()

const utf8 = new TextEncoder()

/** The bytes of a token of a byte-level vocabulary. */
const byteLevel = (token: string): Uint8Array => {
  const characters = [...token]
  const bytes = new Uint8Array(characters.length)
  for (let i = 0; i < bytes.length; i++) {
    const byte = byteOfCharacter.get(characters[i]!)
    if (byte === undefined) return utf8.encode(token)
    bytes[i] = byte
  }
  return bytes
}

/** The bytes of a token of a SentencePiece vocabulary: `<0x0A>` is a byte, U+2581 a blank. */
const sentencePiece = (token: string): Uint8Array => {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)
  return byte === null ? utf8.encode(token.replaceAll("\u2581", " ")) : Uint8Array.of(Number.parseInt(byte[1]!, 16))
}

/** Whether a part of a tokenizer, or one of the parts that it is a sequence of, has that type. */
const has = (part: unknown, type: string): boolean =>
  isObject(part) &&
  (part["type"] === type ||
    ["pretokenizers", "decoders"].some((key) => {
      const parts = part[key]
      return Array.isArray(parts) && parts.some((inner) => has(inner, type))
    }))

/** The bytes of tokens 0 to `vocabSize - 1`. */
export const tokenBytesOf = (tokenizer: JsonObject, vocabSize: number): TokenBytes => {
  const model = tokenizer["model"]
  const vocabulary = isObject(model) ? model["vocab"] : undefined
  if (!isObject(vocabulary)) return fail("Unsupported", "tokenizer.json: its vocabulary is no table of tokens (BPE)")
  const decode = has(tokenizer["decoder"], "ByteLevel") ? byteLevel : sentencePiece
  const bytes: Array<Uint8Array | undefined> = []
  for (const [token, id] of Object.entries(vocabulary)) {
    if (isToken(id, vocabSize)) bytes[id] = decode(token)
  }
  const added = tokenizer["added_tokens"]
  for (const entry of Array.isArray(added) ? added : []) {
    if (isObject(entry) && isToken(entry["id"], vocabSize) && typeof entry["content"] === "string") {
      bytes[entry["id"]] = utf8.encode(entry["content"])
    }
  }
  const none = new Uint8Array(0)
  return packTokenBytes(vocabSize, (token) => bytes[token] ?? none)
}

const isToken = (id: unknown, vocabSize: number): id is number =>
  typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabSize
