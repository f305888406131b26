/**
 * The protobuf message `SampleResponse`.
 *
 * @internal
 */
import type { PromptAltTokens, SampledSequence, SampleResponse, StopReason, TopkLogprobs } from "../Sampling.js"
import { byteSize, type TensorData } from "../TensorData.js"
import { bytesOf, float32Of, int32Of, Scratch } from "./numericBytes.js"
import { ProtoReader } from "./protoReader.js"
import { ProtoWriter } from "./protoWriter.js"
import { readTensor, writeTensor } from "./tensorCodec.js"

/** @internal */
export const responseType = "SampleResponse"

const stopReasons: ReadonlyArray<StopReason> = ["stop", "length"]

/** @internal */
export const writeSampleResponse = (response: SampleResponse): Uint8Array => {
  const scratch = new Scratch()
  const writer = new ProtoWriter(estimate(response))
  const tensor = (field: number, value: TensorData): void => {
    const mark = writer.length
    writeTensor(writer, value, scratch)
    writer.message(field, mark)
  }
  if (response.promptAltTokens !== undefined) {
    const mark = writer.length
    tensor(2, response.promptAltTokens.logprobs)
    tensor(1, response.promptAltTokens.tokens)
    writer.message(6, mark)
  }
  if (response.targetPromptLogprobs !== undefined) tensor(5, response.targetPromptLogprobs)
  writer.uint(4, response.promptCacheHitTokens)
  if (response.topkPromptLogprobs !== undefined) writeTopk(writer, 3, response.topkPromptLogprobs)
  if (response.promptLogprobs !== undefined) writer.bytes(2, bytesOf(response.promptLogprobs))
  for (let i = response.sequences.length - 1; i >= 0; i--) {
    const sequence = response.sequences[i]!
    const mark = writer.length
    if (sequence.topkLogprobs !== undefined) writeTopk(writer, 4, sequence.topkLogprobs)
    if (sequence.logprobs !== undefined) writer.bytes(3, bytesOf(sequence.logprobs))
    writer.nonEmpty(2, bytesOf(sequence.tokens))
    writer.uint(1, sequence.stopReason === "length" ? 1 : 0)
    writer.message(1, mark)
  }
  return writer.finish()
}

const topkSize = (topk: TopkLogprobs | undefined): number => topk === undefined ? 0 : 32 + 8 * topk.tokens.length

const tensorSize = (tensor: TensorData | undefined): number => tensor === undefined ? 0 : 64 + byteSize(tensor)

const estimate = (response: SampleResponse): number => {
  let total = 64 + 4 * (response.promptLogprobs?.length ?? 0) + topkSize(response.topkPromptLogprobs) +
    tensorSize(response.targetPromptLogprobs) + tensorSize(response.promptAltTokens?.tokens) +
    tensorSize(response.promptAltTokens?.logprobs)
  for (const sequence of response.sequences) total += 32 + 8 * sequence.tokens.length + topkSize(sequence.topkLogprobs)
  return total
}

const writeTopk = (writer: ProtoWriter, field: number, topk: TopkLogprobs): void => {
  const mark = writer.length
  writer.uint(4, topk.length)
  writer.uint(3, topk.k)
  writer.nonEmpty(2, bytesOf(topk.logprobs))
  writer.nonEmpty(1, bytesOf(topk.tokens))
  writer.message(field, mark)
}

/** @internal */
export const readSampleResponse = (bytes: Uint8Array): SampleResponse => {
  const reader = ProtoReader.of(bytes, responseType)
  const sequences: Array<SampledSequence> = []
  let promptLogprobs: Float32Array | undefined
  let topkPromptLogprobs: TopkLogprobs | undefined
  let targetPromptLogprobs: TensorData | undefined
  let promptAltTokens: PromptAltTokens | undefined
  let promptCacheHitTokens = 0
  while (reader.next()) {
    switch (reader.field) {
      case 1: {
        const message = reader.message()
        if (message !== undefined) sequences.push(readSequence(message, `sequences[${sequences.length}]`))
        break
      }
      case 2:
        promptLogprobs = floats(reader, "prompt_logprobs") ?? promptLogprobs
        break
      case 3:
        topkPromptLogprobs = readTopk(reader.message(), "topk_prompt_logprobs") ?? topkPromptLogprobs
        break
      case 4:
        promptCacheHitTokens = reader.int32(promptCacheHitTokens)
        break
      case 5: {
        const message = reader.message()
        if (message !== undefined) targetPromptLogprobs = readTensor(message, "target_prompt_logprobs")
        break
      }
      case 6:
        promptAltTokens = readAltTokens(reader.message()) ?? promptAltTokens
        break
      default:
        reader.skip()
    }
  }
  return {
    sequences,
    ...(promptLogprobs === undefined ? {} : { promptLogprobs }),
    ...(topkPromptLogprobs === undefined ? {} : { topkPromptLogprobs }),
    ...(targetPromptLogprobs === undefined ? {} : { targetPromptLogprobs }),
    ...(promptAltTokens === undefined ? {} : { promptAltTokens }),
    promptCacheHitTokens
  }
}

/** Floats of the field; undefined when it has no bytes. */
const floats = (reader: ProtoReader, where: string): Float32Array | undefined => {
  const bytes = reader.bytes()
  if (bytes === undefined || bytes.length === 0) return undefined
  return float32Of(bytes) ?? reader.fail(`${where} has ${bytes.length} bytes, not whole numbers of 4`)
}

const noTokens = new Int32Array(0)

const readSequence = (reader: ProtoReader, where: string): SampledSequence => {
  let reason = 0
  let tokens: Int32Array = noTokens
  let logprobs: Float32Array | undefined
  let topkLogprobs: TopkLogprobs | undefined
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        reason = reader.int32(reason)
        break
      case 2: {
        const bytes = reader.bytes()
        if (bytes === undefined) break
        tokens = int32Of(bytes) ?? reader.fail(`${where}.tokens has ${bytes.length} bytes, not whole numbers of 4`)
        break
      }
      case 3:
        logprobs = floats(reader, `${where}.logprobs`) ?? logprobs
        break
      case 4:
        topkLogprobs = readTopk(reader.message(), `${where}.topk_sampled_logprobs`) ?? topkLogprobs
        break
      default:
        reader.skip()
    }
  }
  const stopReason = stopReasons[reason] ?? reader.fail(`${where} has the unknown stop reason ${reason}`)
  if (logprobs !== undefined && logprobs.length !== tokens.length) {
    reader.fail(`${where} has ${tokens.length} tokens but ${logprobs.length} log-probabilities`)
  }
  return {
    stopReason,
    tokens,
    ...(logprobs === undefined ? {} : { logprobs }),
    ...(topkLogprobs === undefined ? {} : { topkLogprobs })
  }
}

const readTopk = (reader: ProtoReader | undefined, where: string): TopkLogprobs | undefined => {
  if (reader === undefined) return undefined
  let tokens: Int32Array = noTokens
  let logprobs: Float32Array | undefined
  let k = 0
  let length = 0
  while (reader.next()) {
    switch (reader.field) {
      case 1: {
        const bytes = reader.bytes()
        if (bytes === undefined) break
        tokens = int32Of(bytes) ??
          reader.fail(`${where} has ${bytes.length} bytes of token ids, not whole numbers of 4`)
        break
      }
      case 2:
        logprobs = floats(reader, where) ?? logprobs
        break
      case 3:
        k = reader.uint(k)
        break
      case 4:
        length = reader.uint(length)
        break
      default:
        reader.skip()
    }
  }
  if (k === 0 || length === 0) return undefined
  if (logprobs === undefined || tokens.length !== k * length || logprobs.length !== k * length) {
    return reader.fail(`${where} does not have ${length} rows of ${k}`)
  }
  return { tokens, logprobs, k, length }
}

const readAltTokens = (reader: ProtoReader | undefined): PromptAltTokens | undefined => {
  if (reader === undefined) return undefined
  let tokens: TensorData | undefined
  let logprobs: TensorData | undefined
  while (reader.next()) {
    const message = reader.field <= 2 ? reader.message() : undefined
    if (message === undefined) {
      if (reader.field > 2) reader.skip()
    } else if (reader.field === 1) {
      tokens = readTensor(message, "prompt_alt_tokens.tokens")
    } else {
      logprobs = readTensor(message, "prompt_alt_tokens.logprobs")
    }
  }
  return tokens === undefined || logprobs === undefined
    ? reader.fail("prompt_alt_tokens does not have both tensors")
    : { tokens, logprobs }
}
