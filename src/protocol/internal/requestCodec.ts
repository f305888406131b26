/**
 * The protobuf message `ForwardBackwardRequest`.
 *
 * @internal
 */
import type { Datum, ProvenanceSpan } from "../Datum.js"
import { InvalidInput } from "../InvalidInput.js"
import type { Chunk } from "../ModelInput.js"
import { byteSize, type TensorData } from "../TensorData.js"
import type { ForwardBackwardRequest } from "../Training.js"
import { int32Of, Scratch } from "./numericBytes.js"
import { ProtoReader } from "./protoReader.js"
import { ProtoWriter } from "./protoWriter.js"
import { put } from "./record.js"
import { readTensor, writeTensor } from "./tensorCodec.js"

/** @internal */
export const requestType = "ForwardBackwardRequest"

/** @internal */
export const writeRequest = (request: ForwardBackwardRequest): Uint8Array => {
  const scratch = new Scratch()
  const writer = new ProtoWriter(estimate(request))
  const config = Object.entries(request.lossFnConfig ?? {}).sort((a, b) => a[0] < b[0] ? -1 : 1)
  for (let i = config.length - 1; i >= 0; i--) {
    const [key, value] = config[i]!
    const entry = writer.length
    if (typeof value === "number") writer.double(1, value)
    else writer.text(2, value)
    writer.message(2, entry)
    writer.text(1, key)
    writer.message(7, entry)
  }
  writer.uint(6, request.forwardOnly ? 1 : 0)
  for (let i = config.length - 1; i >= 0; i--) {
    const [key, value] = config[i]!
    if (typeof value !== "number") continue
    const entry = writer.length
    writer.double(2, value)
    writer.text(1, key)
    writer.message(5, entry)
  }
  writer.string(4, request.lossFn)
  for (let i = request.data.length - 1; i >= 0; i--) {
    const mark = writer.length
    writeDatum(writer, request.data[i]!, i, scratch)
    writer.message(3, mark)
  }
  writer.int32(2, request.seqId)
  writer.string(1, request.modelId)
  return writer.finish()
}

/** Close above what the request takes, so that the buffer neither grows nor is much too large. */
const estimate = (request: ForwardBackwardRequest): number => {
  let total = 1024 + 3 * request.modelId.length
  for (const datum of request.data) {
    total += 64
    for (const chunk of datum.modelInput.chunks) {
      total += 64 + (chunk.type === "encoded_text"
        ? 4 * chunk.tokens.length
        : chunk.type === "image"
        ? chunk.data.length
        : chunk.type === "dmel"
        ? chunk.dmel.length
        : 0)
    }
    for (const name of Object.keys(datum.lossFnInputs)) {
      total += 64 + 3 * name.length + byteSize(datum.lossFnInputs[name]!)
    }
  }
  return total
}

const writeDatum = (writer: ProtoWriter, datum: Datum, index: number, scratch: Scratch): void => {
  writeSpans(writer, 4, datum.lossFnInputSpans ?? [])
  writeSpans(writer, 3, datum.modelInputSpans ?? [])
  const names = Object.keys(datum.lossFnInputs).sort()
  for (let i = names.length - 1; i >= 0; i--) {
    const name = names[i]!
    const entry = writer.length
    writeTensor(writer, datum.lossFnInputs[name]!, scratch)
    writer.message(2, entry)
    writer.text(1, name)
    writer.message(2, entry)
  }
  const { chunks } = datum.modelInput
  for (let i = chunks.length - 1; i >= 0; i--) {
    const mark = writer.length
    writeChunk(writer, chunks[i]!, `data[${index}].modelInput.chunks[${i}]`, scratch)
    writer.message(1, mark)
  }
}

const writeChunk = (writer: ProtoWriter, chunk: Chunk, field: string, scratch: Scratch): void => {
  const mark = writer.length
  switch (chunk.type) {
    case "encoded_text": {
      const bytes = scratch.int32(chunk.tokens)
      if (typeof bytes === "number") {
        throw new InvalidInput({
          field: `${field}.tokens`,
          index: bytes,
          expected: "token ids of 32 bits",
          actual: "another number"
        })
      }
      writer.nonEmpty(1, bytes)
      return writer.message(1, mark)
    }
    case "image":
      if (chunk.expectedTokens !== undefined) writer.present(3, chunk.expectedTokens)
      writer.string(2, chunk.format)
      writer.nonEmpty(1, chunk.data)
      return writer.message(2, mark)
    case "dmel":
      writer.nonEmpty(1, chunk.dmel)
      return writer.message(3, mark)
    default:
      throw new InvalidInput({
        field,
        expected: "text, image bytes or audio: training requests cannot point to an image",
        actual: `a chunk of type ${chunk.type}`
      })
  }
}

const writeSpans = (writer: ProtoWriter, field: number, spans: ReadonlyArray<ProvenanceSpan>): void => {
  for (let i = spans.length - 1; i >= 0; i--) {
    const span = spans[i]!
    const mark = writer.length
    writer.uint(3, span.length)
    writer.uint(2, span.offset)
    writer.string(1, span.sequenceId)
    writer.message(span.type === "prompt_tokens" ? 1 : 2, mark)
    writer.message(field, mark)
  }
}

/** @internal */
export const readRequest = (bytes: Uint8Array): ForwardBackwardRequest => {
  const reader = ProtoReader.of(bytes, requestType)
  const data: Array<Datum> = []
  const numbers: Record<string, number> = {}
  const config: Record<string, number | string> = {}
  let modelId = ""
  let seqId = 0
  let lossFn = ""
  let forwardOnly = false
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        modelId = reader.string(modelId)
        break
      case 2:
        seqId = reader.int32(seqId)
        break
      case 3: {
        const message = reader.message()
        if (message !== undefined) data.push(readDatum(message, `data[${data.length}]`))
        break
      }
      case 4:
        lossFn = reader.string(lossFn)
        break
      case 5:
        readEntry(reader.message(), (entry) => entry.double(0), () => 0, numbers)
        break
      case 6:
        forwardOnly = reader.int32(0) !== 0
        break
      case 7:
        readEntry(
          reader.message(),
          readConfigValue,
          (key) => reader.fail(`loss_fn_config_v2.${key} has no value`),
          config
        )
        break
      default:
        reader.skip()
    }
  }
  const settings = Object.keys(config).length > 0 ? config : numbers
  return {
    modelId,
    seqId,
    data,
    lossFn,
    ...(Object.keys(settings).length > 0 ? { lossFnConfig: settings } : {}),
    forwardOnly
  }
}

/**
 * An entry of a map: `value` reads field 2 and answers undefined for nothing, in whose place `missing` is asked.
 *
 * @internal
 */
export const readEntry = <A>(
  entry: ProtoReader | undefined,
  value: (entry: ProtoReader) => A | undefined,
  missing: (key: string) => A,
  into: Record<string, A>
): void => {
  if (entry === undefined) return
  let key = ""
  let found: A | undefined
  while (entry.next()) {
    if (entry.field === 1) key = entry.string(key)
    else if (entry.field === 2) found = value(entry) ?? found
    else entry.skip()
  }
  put(into, key, found ?? missing(key))
}

const readConfigValue = (entry: ProtoReader): number | string | undefined => {
  const message = entry.message()
  let found: number | string | undefined
  while (message?.next()) {
    if (message.field === 1) found = message.double(0)
    else if (message.field === 2) found = message.string("")
    else message.skip()
  }
  return found
}

const readDatum = (reader: ProtoReader, where: string): Datum => {
  const chunks: Array<Chunk> = []
  const lossFnInputs: Record<string, TensorData> = {}
  const modelInputSpans: Array<ProvenanceSpan> = []
  const lossFnInputSpans: Array<ProvenanceSpan> = []
  while (reader.next()) {
    switch (reader.field) {
      case 1: {
        const message = reader.message()
        if (message !== undefined) chunks.push(readChunk(message, `${where}.modelInput.chunks[${chunks.length}]`))
        break
      }
      case 2:
        readEntry(
          reader.message(),
          (entry) => {
            const message = entry.message()
            return message === undefined ? undefined : readTensor(message, `${where}.lossFnInputs`)
          },
          (key) => reader.fail(`${where}.lossFnInputs.${key} has no value`),
          lossFnInputs
        )
        break
      case 3:
        readSpan(reader.message(), modelInputSpans)
        break
      case 4:
        readSpan(reader.message(), lossFnInputSpans)
        break
      default:
        reader.skip()
    }
  }
  return {
    modelInput: { chunks },
    lossFnInputs,
    ...(modelInputSpans.length > 0 ? { modelInputSpans } : {}),
    ...(lossFnInputSpans.length > 0 ? { lossFnInputSpans } : {})
  }
}

const empty = new Uint8Array(0)

const readChunk = (reader: ProtoReader, where: string): Chunk => {
  let chunk: Chunk | undefined
  while (reader.next()) {
    const body = reader.field <= 3 ? reader.message() : undefined
    if (body === undefined) {
      if (reader.field > 3) reader.skip()
      continue
    }
    let bytes: Uint8Array = empty
    let format = ""
    let expectedTokens: number | undefined
    while (body.next()) {
      if (body.field === 1) bytes = body.bytes() ?? bytes
      else if (body.field === 2) format = body.string(format)
      else if (body.field === 3) expectedTokens = body.int32(0)
      else body.skip()
    }
    if (reader.field === 1) {
      const tokens = int32Of(bytes)
      if (tokens === undefined) {
        return reader.fail(`${where} has ${bytes.length} bytes of token ids, not whole numbers of 4`)
      }
      chunk = { type: "encoded_text", tokens }
    } else if (reader.field === 2) {
      chunk = { type: "image", data: bytes, format, ...(expectedTokens === undefined ? {} : { expectedTokens }) }
    } else {
      chunk = { type: "dmel", dmel: bytes }
    }
  }
  return chunk ?? reader.fail(`${where} holds nothing that is known here`)
}

const readSpan = (reader: ProtoReader | undefined, into: Array<ProvenanceSpan>): void => {
  while (reader?.next()) {
    const body = reader.field <= 2 ? reader.message() : undefined
    if (body === undefined) {
      if (reader.field > 2) reader.skip()
      continue
    }
    const type = reader.field === 1 ? "prompt_tokens" : "sampled_tokens"
    let sequenceId = ""
    let offset = 0
    let length = 0
    while (body.next()) {
      if (body.field === 1) sequenceId = body.string(sequenceId)
      else if (body.field === 2) offset = body.uint(offset)
      else if (body.field === 3) length = body.uint(length)
      else body.skip()
    }
    into.push({ type, sequenceId, offset, length })
  }
}
