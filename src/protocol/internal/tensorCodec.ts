/**
 * The protobuf message `Tensor`, and the types of numbers that it and `BatchedTensor` share.
 *
 * @internal
 */
import { type TensorData, validate } from "../TensorData.js"
import { bfloat16Of, bytesOf, float32Of, int32Of, int64Of, type Scratch } from "./numericBytes.js"
import type { ProtoReader } from "./protoReader.js"
import type { ProtoWriter } from "./protoWriter.js"

const FLOAT32 = 1
const INT64 = 2
const INT32 = 3
const BFLOAT16 = 4

/** The enum value of a tensor's numbers. */
export const dtypeNumber = (tensor: TensorData): number => tensor.dtype === "float32" ? FLOAT32 : INT64

/** The bytes of a tensor's numbers. */
export const payload = (tensor: TensorData, scratch: Scratch): Uint8Array =>
  tensor.dtype === "float32" ? bytesOf(tensor.data) : scratch.int64(tensor.data)

/** Bytes per number on the wire. */
export const wireSize = (dtype: number): number => dtype === INT64 ? 8 : dtype === BFLOAT16 ? 2 : 4

/** Numbers of the wire as the two types of the domain; narrower types are widened. */
export const numbersOf = (
  reader: ProtoReader,
  dtype: number,
  bytes: Uint8Array,
  where: string
): Pick<TensorData, "dtype" | "data"> => {
  const data = dtype === FLOAT32
    ? float32Of(bytes)
    : dtype === INT64
    ? int64Of(bytes)
    : dtype === INT32
    ? int32Of(bytes)
    : dtype === BFLOAT16
    ? bfloat16Of(bytes)
    : reader.fail(`${where} has the unknown dtype ${dtype}`)
  if (data === undefined) return reader.fail(`${where} has ${bytes.length} bytes, not whole numbers of its dtype`)
  return { dtype: data instanceof Float32Array ? "float32" : "int64", data }
}

/** The body of a `Tensor` message. */
export const writeTensor = (writer: ProtoWriter, tensor: TensorData, scratch: Scratch): void => {
  writer.packed(4, tensor.shape)
  writer.uint(3, dtypeNumber(tensor))
  if (tensor.crow === undefined || tensor.col === undefined) {
    writer.bytes(1, payload(tensor, scratch))
    return
  }
  const mark = writer.length
  writer.nonEmpty(3, scratch.int64(tensor.col))
  writer.bytes(2, scratch.int64(tensor.crow))
  writer.nonEmpty(1, payload(tensor, scratch))
  writer.message(2, mark)
}

const none: Uint8Array = new Uint8Array(0)

/** Reads the body of a `Tensor` message and checks that its parts fit together. Without a shape it is a list. */
export const readTensor = (reader: ProtoReader, where: string): TensorData => {
  let dense: Uint8Array | undefined
  let csr: { values: Uint8Array; crow: Uint8Array; col: Uint8Array } | undefined
  let dtype = 0
  const shape: Array<number> = []
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        dense = reader.bytes() ?? dense
        csr = undefined
        break
      case 2:
        csr = readCsr(reader.message()) ?? csr
        break
      case 3:
        dtype = reader.int32(dtype)
        break
      case 4:
        reader.repeated(shape)
        break
      default:
        reader.skip()
    }
  }
  const numbers = numbersOf(reader, dtype, csr?.values ?? dense ?? none, where)
  const known = shape.length === 0 ? [numbers.data.length] : shape
  if (csr === undefined) return validate({ ...numbers, shape: known } as TensorData, where) // numbersOf pairs dtype and data
  const crow = int64Of(csr.crow)
  const col = int64Of(csr.col)
  if (!(crow instanceof Int32Array) || !(col instanceof Int32Array)) {
    return reader.fail(`${where} has row pointers or column indices that are not usable`)
  }
  return validate({ ...numbers, shape: known, crow, col } as TensorData, where) // numbersOf pairs dtype and data
}

const readCsr = (reader: ProtoReader | undefined) => {
  if (reader === undefined) return undefined
  const csr = { values: none, crow: none, col: none }
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        csr.values = reader.bytes() ?? csr.values
        break
      case 2:
        csr.crow = reader.bytes() ?? csr.crow
        break
      case 3:
        csr.col = reader.bytes() ?? csr.col
        break
      default:
        reader.skip()
    }
  }
  return csr
}
