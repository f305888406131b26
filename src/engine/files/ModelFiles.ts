/**
 * Models out of files: a GGUF file, or a Hugging Face folder (`config.json`, one or sharded safetensors, `tokenizer.json`).
 *
 * Everything is checked when a model is opened, before any weight is read: the architecture, every tensor's place and
 * shape, and whether the weights fit the memory. The weights themselves are read by the engine when it first uses the
 * model.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type { Form } from "../kernels/panels.js"
import type { ModelDefinition } from "../model/Models.js"
import { storedBytes } from "../model/storedWeights.js"
import { type Architecture, expectedTensors } from "./architecture.js"
import { readFolder } from "./folder.js"
import { readGgufModel } from "./ggufModel.js"
import { ModelFileError } from "./ModelFileError.js"
import { isFolder } from "./nodeFiles.js"
import { fail, Problem, show } from "./problem.js"
import type { SourceTensor, SourceWeights, StoredTensor } from "./tensorFile.js"
import type { TokenBytes } from "./tokenBytes.js"

/**
 * How a model is opened.
 *
 * @since 0.2.0
 * @category models
 */
export interface OpenOptions {
  /** What it is called; by default the name of the file without `.gguf`, or of the folder. */
  readonly name?: string | undefined
  /**
   * How the weights are held in memory: as float32, as float16, or in 8-bit blocks. Absent: matrix by matrix the smallest
   * that keeps logits within 1e-2: 8-bit blocks for what the file has in groups of 32 (Q4_0 to Q8_0, Q4_K, Q5_K), which lose
   * nothing; float16 for float16, bfloat16 and Q6_K; float32 for float32.
   */
  readonly form?: Form | undefined
  /** Most bytes that the weights may take; 4 GB by default, more than WebAssembly has. */
  readonly maxBytes?: number | undefined
}

/** What a file or folder holds, before it is held against what a model of its architecture must have. */
export interface Opened {
  readonly architecture: Architecture
  /** By Hugging Face name. */
  readonly tensor: (expected: ReturnType<typeof expectedTensors>[number]) => StoredTensor | undefined
  /** Whether the rows of queries and keys lie in pairs. */
  readonly paired: boolean
  readonly files: SourceWeights["files"]
  readonly eosTokens: ReadonlyArray<number>
  readonly tokenizer: { readonly tokenizerJson: string; readonly configJson: string }
  readonly tokenBytes: TokenBytes
}

/** Names that travel in addresses of tokenizers and in paths of checkpoints. */
const goodName = /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/

const nameOf = (path: string, given: string | undefined): string => {
  const name = given ?? path.replace(/[\\/]+$/, "").replace(/^.*[\\/]/, "").replace(/\.gguf$/i, "")
  return goodName.test(name)
    ? name
    : fail("Unsupported", `${show(name)} cannot be the model's name: give one of letters, digits, "_", "-" and "."`)
}

const checkedTensors = ({ architecture, paired, tensor }: Opened): Readonly<Record<string, SourceTensor>> =>
  Object.fromEntries(
    expectedTensors(architecture).map((expected) => {
      const stored = tensor(expected) ?? fail("Malformed", `the tensor ${expected.name} is missing`)
      const { shape } = expected
      if (stored.shape.length !== shape.length || stored.shape.some((n, i) => n !== shape[i])) {
        fail(
          "Malformed",
          `the tensor ${expected.name} has shape [${stored.shape.join(", ")}], not [${shape.join(", ")}]`
        )
      }
      return [expected.name, { ...stored, pairedHeads: paired ? expected.pairedHeads : 0 }] as const
    })
  )

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`

/** WebAssembly's addresses end here. */
const maxMemory = 2 ** 32 - 2 ** 16

const define = (path: string, options: OpenOptions): ModelDefinition => {
  const opened = isFolder(path) ? readFolder(path) : readGgufModel(path)
  const name = nameOf(path, options.name)
  const { architecture: { shape }, eosTokens, files, tokenBytes, tokenizer } = opened
  const stored: SourceWeights = { tensors: checkedTensors(opened), files, form: options.form }
  return { name, shape, weights: { stored }, eosTokens, tokenizerId: name, tokenBytes, tokenizer }
}

/** What the weights of a model take in memory when they are held in a form. */
const bytesOf = ({ shape, weights }: ModelDefinition, form?: Form): number =>
  "stored" in weights ? storedBytes(shape, form === undefined ? weights.stored : { ...weights.stored, form }) : 0

/** Refuses models that do not fit the memory together. */
const fits = (models: ReadonlyArray<ModelDefinition>, maxBytes: number | undefined): void => {
  const most = Math.min(maxBytes ?? maxMemory, maxMemory)
  const sum = (form?: Form) => models.reduce((bytes, model) => bytes + bytesOf(model, form), 0)
  const bytes = sum()
  if (bytes <= most) return
  const parts = models.length === 1
    ? ""
    : ` (${models.map((model) => `${model.name} ${gigabytes(bytesOf(model))}`).join(" + ")})`
  const smallest = sum("q8")
  fail(
    "TooLarge",
    `the weights take ${gigabytes(bytes)} of memory${parts} and ${gigabytes(most)} can be had` +
      (smallest < bytes ? `; in 8-bit blocks (q8) they take ${gigabytes(smallest)}` : "")
  )
}

const attempt = <A>(path: string, body: () => A): Effect.Effect<A, ModelFileError> =>
  Effect.try({ try: body, catch: (error) => error }).pipe(
    Effect.catchAll((error) =>
      error instanceof Problem
        ? Effect.fail(new ModelFileError({ path, reason: error.reason, detail: error.detail }))
        : Effect.die(error)
    )
  )

/**
 * Opens the model at a path. Give what it returns to an engine: `WorkerEngine.layer({ models: [model] })`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const open = (path: string, options: OpenOptions = {}): Effect.Effect<ModelDefinition, ModelFileError> =>
  attempt(path, () => {
    const model = define(path, options)
    fits([model], options.maxBytes)
    return model
  })

/**
 * A model to be opened: where it is, and how. What it does not say is as the call says for all.
 *
 * @since 0.2.0
 * @category models
 */
export interface ModelAt extends Pick<OpenOptions, "name" | "form"> {
  readonly path: string
}

/**
 * Opens models that are to be used together; they must have different names, and fit the memory together.
 *
 * @since 0.2.0
 * @category constructors
 */
export const openAll = (
  models: ReadonlyArray<ModelAt>,
  options: Pick<OpenOptions, "form" | "maxBytes"> = {}
): Effect.Effect<ReadonlyArray<ModelDefinition>, ModelFileError> =>
  Effect.gen(function*() {
    const opened: Array<ModelDefinition> = []
    for (const { form = options.form, name, path } of models) {
      const model = yield* attempt(path, () => define(path, { name, form }))
      yield* attempt(path, () => {
        if (opened.some((other) => other.name === model.name)) {
          fail("Unsupported", `there are two models of the name ${model.name}: give one of them another name`)
        }
      })
      opened.push(model)
    }
    yield* attempt(models.map(({ path }) => path).join(", "), () => fits(opened, options.maxBytes))
    return opened
  })
