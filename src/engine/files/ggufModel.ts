/**
 * A model out of a GGUF file.
 */
import { readGguf } from "./gguf.js"
import { architectureOfGguf } from "./ggufConfig.js"
import { endTokensOfGguf, tokenizerOfGguf } from "./ggufTokenizer.js"
import { parseObject } from "./json.js"
import type { Opened } from "./ModelFiles.js"
import { openFile } from "./nodeFiles.js"
import { fail } from "./problem.js"
import { decodeFloats } from "./tensorTypes.js"
import { tokenBytesOf } from "./vocabulary.js"

export const readGgufModel = (path: string): Opened => {
  const source = openFile(path)
  try {
    const file = readGguf(path, source)
    const factors = file.tensors.get("rope_freqs.weight")
    if (factors !== undefined && factors.bytes > 1 << 16) fail("Malformed", "the tensor rope_freqs.weight is too long")
    const ropeFactors = factors === undefined ? undefined : new Float32Array(factors.shape.reduce((a, b) => a * b, 1))
    if (factors !== undefined && ropeFactors !== undefined) {
      const bytes = source.read(factors.offset, factors.bytes)
      decodeFloats(factors.type, new DataView(bytes.buffer), 0, ropeFactors.length, ropeFactors)
    }
    const architecture = architectureOfGguf(file, ropeFactors === undefined ? undefined : [...ropeFactors])
    const { vocabSize } = architecture.shape
    const tokenizer = tokenizerOfGguf(file)
    return {
      architecture,
      tensor: ({ gguf }) => file.tensors.get(gguf),
      paired: true,
      files: [{ path, size: source.size, modified: source.modified }],
      eosTokens: endTokensOfGguf(file, vocabSize),
      tokenizer,
      tokenBytes: tokenBytesOf(parseObject(tokenizer.tokenizerJson, "its tokenizer"), vocabSize)
    }
  } finally {
    source.close()
  }
}
