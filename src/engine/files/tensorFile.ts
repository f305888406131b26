/**
 * Tensors in files: where they lie and in what form.
 */
import type { TensorType } from "./tensorTypes.js"

/** A tensor of a file, whose range has been checked against the file's size. */
export interface StoredTensor {
  readonly path: string
  readonly type: TensorType
  /** Slowest dimension first, as in Hugging Face checkpoints. */
  readonly shape: ReadonlyArray<number>
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly bytes: number
}

export interface TensorFile {
  readonly tensors: ReadonlyMap<string, StoredTensor>
}
