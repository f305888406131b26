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

/** A tensor with the order of its rows. */
export interface SourceTensor extends StoredTensor {
  /** Heads whose rows lie in pairs, as llama.cpp's converter puts them for llama models; 0: as Hugging Face has them. */
  readonly pairedHeads: number
}

/**
 * The weights of a model in files, as plain data that can be sent to a worker: the tensors by their Hugging Face names, and
 * what tells a changed file.
 */
export interface SourceWeights {
  readonly tensors: Readonly<Record<string, SourceTensor>>
  readonly files: ReadonlyArray<{ readonly path: string; readonly size: number; readonly modified: number }>
  /** In which form they are held; absent: in the smallest that keeps the model's answers. */
  readonly form: "f32" | "f16" | "q8" | undefined
}
