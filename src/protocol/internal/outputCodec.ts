/**
 * The protobuf message `ForwardBackwardOutput`: tensors of all data batched per field.
 *
 * @internal
 */
import { InvalidInput } from "../InvalidInput.js"
import type { TensorData } from "../TensorData.js"
import type { ForwardBackwardOutput, LossFnOutput } from "../Training.js"
import { bytesOf, int64Of, Scratch } from "./numericBytes.js"
import { ProtoReader } from "./protoReader.js"
import { ProtoWriter } from "./protoWriter.js"
import { put } from "./record.js"
import { readEntry } from "./requestCodec.js"
import { dtypeNumber, numbersOf, payload, wireSize } from "./tensorCodec.js"

/** @internal */
export const outputType = "ForwardBackwardOutput"

/** Data from `start` to `end` whose fields have the same dtype and the same trailing shape. */
interface Run {
  readonly start: number
  readonly end: number
}

const sameKind = (a: TensorData, b: TensorData): boolean => {
  if (a.dtype !== b.dtype || a.shape.length !== b.shape.length) return false
  for (let i = 1; i < a.shape.length; i++) if (a.shape[i] !== b.shape[i]) return false
  return true
}

const runsOf = (outputs: ReadonlyArray<LossFnOutput>, names: ReadonlyArray<string>): ReadonlyArray<Run> => {
  const runs: Array<Run> = []
  let start = 0
  for (let i = 0; i < outputs.length; i++) {
    const output = outputs[i]!
    if (Object.keys(output).length !== names.length) {
      refuse(i, `the ${names.length} fields of the first datum`, "others")
    }
    for (const name of names) {
      const tensor = output[name]
      if (tensor === undefined) return refuse(i, `a field ${name}, as the first datum has`, "none")
      if (tensor.crow !== undefined) return refuse(i, `a dense tensor ${name}`, "a sparse one")
      if (i > start && !sameKind(outputs[start]![name]!, tensor)) {
        runs.push({ start, end: i })
        start = i
      }
    }
  }
  if (outputs.length > 0) runs.push({ start, end: outputs.length })
  return runs
}

const refuse = (index: number, expected: string, actual: string): never => {
  throw new InvalidInput({ field: "lossFnOutputs", index, expected, actual })
}

/** @internal */
export const writeOutput = (output: ForwardBackwardOutput): Uint8Array => {
  const outputs = output.lossFnOutputs
  const names = Object.keys(outputs[0] ?? {}).sort()
  const runs = runsOf(outputs, names)
  let size = 1024
  for (const one of outputs) {
    for (const name of names) size += 16 + one[name]!.data.length * (one[name]!.dtype === "float32" ? 4 : 8)
  }
  const writer = new ProtoWriter(size)
  const scratch = new Scratch()
  const metrics = Object.keys(output.metrics).sort()
  for (let i = metrics.length - 1; i >= 0; i--) {
    const entry = writer.length
    writer.double(2, output.metrics[metrics[i]!]!)
    writer.text(1, metrics[i]!)
    writer.message(3, entry)
  }
  for (let r = runs.length - 1; r >= 0; r--) {
    const mark = writer.length
    writer.uint(3, runs[r]!.end - runs[r]!.start)
    for (let n = names.length - 1; n >= 0; n--) {
      const entry = writer.length
      writeBatched(writer, outputs, names[n]!, runs[r]!, scratch)
      writer.message(2, entry)
      writer.text(1, names[n]!)
      writer.message(2, entry)
    }
    writer.string(1, output.lossFnOutputType)
    writer.message(2, mark)
  }
  writer.string(1, output.lossFnOutputType)
  return writer.finish()
}

const writeBatched = (
  writer: ProtoWriter,
  outputs: ReadonlyArray<LossFnOutput>,
  name: string,
  run: Run,
  scratch: Scratch
): void => {
  const first = outputs[run.start]![name]! // runsOf has seen every field of every datum
  const size = wireSize(dtypeNumber(first))
  writer.packed(4, first.shape.slice(1))
  writer.uint(3, dtypeNumber(first))
  const offsets = new Int32Array(2 * (run.end - run.start + 1))
  let total = 0
  for (let i = run.start; i < run.end; i++) {
    total += outputs[i]![name]!.data.length * size
    offsets[2 * (i - run.start + 1)] = total
    offsets[2 * (i - run.start + 1) + 1] = Math.floor(total / 2 ** 32)
  }
  writer.bytes(2, bytesOf(offsets))
  const mark = writer.length
  for (let i = run.end - 1; i >= run.start; i--) writer.raw(payload(outputs[i]![name]!, scratch))
  if (writer.length > mark) writer.message(1, mark)
}

interface Batch {
  data: Uint8Array
  offsets: Uint8Array
  dtype: number
  readonly trailing: Array<number>
}

/** @internal */
export const readOutput = (bytes: Uint8Array): ForwardBackwardOutput => {
  const reader = ProtoReader.of(bytes, outputType)
  const metrics: Record<string, number> = {}
  const fields = new Map<string, Array<TensorData>>()
  let type = ""
  let records = 0
  let announced = 0
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        type = reader.string(type)
        break
      case 2: {
        const record = reader.message()
        if (record === undefined) break
        records++
        announced += readRecord(record, fields)
        break
      }
      case 3:
        readEntry(reader.message(), (entry) => entry.double(0), () => 0, metrics)
        break
      default:
        reader.skip()
    }
  }
  if (records === 0) {
    return { lossFnOutputType: type === "" ? "ArrayRecord" : type, lossFnOutputs: [], metrics }
  }
  const count = announced > 0 ? announced : firstLength(fields)
  for (const [name, tensors] of fields) {
    if (tensors.length < count) reader.fail(`field ${name} has ${tensors.length} of ${count} data`)
  }
  const lossFnOutputs: Array<LossFnOutput> = []
  for (let i = 0; i < count; i++) {
    const output: Record<string, TensorData> = {}
    for (const [name, tensors] of fields) put(output, name, tensors[i]!) // every field has at least count of them
    lossFnOutputs.push(output)
  }
  return { lossFnOutputType: type.slice(type.lastIndexOf(":") + 1), lossFnOutputs, metrics }
}

const firstLength = (fields: ReadonlyMap<string, ReadonlyArray<TensorData>>): number => {
  for (const tensors of fields.values()) return tensors.length
  return 0
}

/** Adds the tensors of a record to those of the records before it; answers how many data it says it has. */
const readRecord = (record: ProtoReader, fields: Map<string, Array<TensorData>>): number => {
  let count = 0
  while (record.next()) {
    switch (record.field) {
      case 2: {
        const batches: Record<string, Batch> = {}
        readEntry(
          record.message(),
          (entry) => readBatch(entry.message()),
          (): Batch => ({ data: empty, offsets: empty, dtype: 0, trailing: [] }),
          batches
        )
        for (const [name, batch] of Object.entries(batches)) {
          const tensors = fields.get(name) ?? []
          split(record, batch, name, tensors)
          fields.set(name, tensors)
        }
        break
      }
      case 3:
        count = record.uint(count)
        break
      default:
        record.skip()
    }
  }
  return count
}

const empty = new Uint8Array(0)

const readBatch = (reader: ProtoReader | undefined): Batch | undefined => {
  if (reader === undefined) return undefined
  const batch: Batch = { data: empty, offsets: empty, dtype: 0, trailing: [] }
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        batch.data = reader.bytes() ?? batch.data
        break
      case 2:
        batch.offsets = reader.bytes() ?? batch.offsets
        break
      case 3:
        batch.dtype = reader.int32(batch.dtype)
        break
      case 4:
        reader.repeated(batch.trailing)
        break
      default:
        reader.skip()
    }
  }
  return batch
}

/** Cuts a batch into its data; the pieces are views of one array. */
const split = (reader: ProtoReader, batch: Batch, name: string, into: Array<TensorData>): void => {
  const { data, dtype } = numbersOf(reader, batch.dtype, batch.data, `field ${name}`)
  const offsets = int64Of(batch.offsets)
  if (!(offsets instanceof Int32Array)) reader.fail(`the offsets of field ${name} are not usable`)
  const size = wireSize(batch.dtype)
  let trailing = 1
  for (const dimension of batch.trailing) trailing *= dimension
  for (let i = 0; i + 1 < offsets.length; i++) {
    const start = offsets[i]! / size
    const end = offsets[i + 1]! / size
    if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > data.length) {
      reader.fail(`offset ${i + 1} of field ${name} does not fit its data`)
    }
    const leading = trailing === 0 ? 0 : (end - start) / trailing
    if (!Number.isInteger(leading)) reader.fail(`datum ${i} of field ${name} is not whole rows of its trailing shape`)
    into.push({ dtype, data: data.subarray(start, end), shape: [leading, ...batch.trailing] } as TensorData) // numbersOf pairs them
  }
}
