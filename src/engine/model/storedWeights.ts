/**
 * The base weights of a model out of its files, stored once in panels.
 *
 * @since 0.2.0
 */
import * as Either from "effect/Either"
import { EngineError } from "../Engine.js"
import { type OpenFile, openFile } from "../files/nodeFiles.js"
import { Problem } from "../files/problem.js"
import type { SourceTensor, SourceWeights } from "../files/tensorFile.js"
import { decodeFloats, rowBytes, tensorTypes, type TypeDefinition } from "../files/tensorTypes.js"
import type { Kernels } from "../kernels/kernels.js"
import {
  blockLength,
  type Blocks,
  type Form,
  type Panels,
  panelsBytes,
  storeBlocks,
  storeFloats,
  toBlocks
} from "../kernels/panels.js"
import { fillOnce, type SharedMemory } from "../kernels/sharedMemory.js"
import { layOut, type Take } from "../kernels/views.js"
import { fillRotaryTable, type Model, rotaryWords } from "./model.js"
import { type ModelConfig, qkvDim, queryDim } from "./modelConfig.js"
import type { LayerWeights, Weights } from "./parameters.js"
import { weightLayout } from "./weights.js"
import { makeWorkspace } from "./workspace.js"

/** A matrix or vector of the model, with the tensors of the files that it is put together from, one below the other. */
interface Placed {
  readonly to: Panels | { readonly at: number; readonly length: number }
  readonly from: ReadonlyArray<string>
}

/** Numbers in groups of 32 pass into 8-bit blocks without loss, float16 and bfloat16 (but for its smallest) into halves. */
const formOf = (source: SourceWeights, names: ReadonlyArray<string>): Form => {
  if (source.form !== undefined) return source.form
  const forms = names.map((name): Form => {
    const { type } = source.tensors[name]!
    const { decode }: TypeDefinition = tensorTypes[type]
    if (decode._tag === "Groups" && decode.group === blockLength) return "q8"
    return type === "F32" ? "f32" : "f16"
  })
  return (["f32", "f16"] as const).find((form) => forms.includes(form)) ?? "q8"
}

/** Lays the weights out, and lists what goes where. */
const layStored = (config: ModelConfig, source: SourceWeights, take: Take) => {
  const { dModel, ffnDim, headDim, vocabSize } = config
  const placed: Array<Placed> = []
  const panels = (output: number, input: number, ...from: ReadonlyArray<string>): Panels => {
    const size = { output, input, form: formOf(source, from) }
    const to = { ...size, at: take(panelsBytes(size) / 4) }
    placed.push({ to, from })
    return to
  }
  const vector = (length: number, ...from: ReadonlyArray<string>): number => {
    const to = { at: take(length), length }
    placed.push({ to, from })
    return to.at
  }
  const layer = (l: number): LayerWeights => {
    const at = (name: string): string => `model.layers.${l}.${name}`
    const attention = (end: string) => ["q_proj", "k_proj", "v_proj"].map((name) => at(`self_attn.${name}.${end}`))
    return {
      inputNorm: vector(dModel, at("input_layernorm.weight")),
      qkv: panels(qkvDim(config), dModel, ...attention("weight")),
      qkvBias: config.qkvBias === true ? vector(qkvDim(config), ...attention("bias")) : 0,
      qNorm: config.qkNorm === false ? 0 : vector(headDim, at("self_attn.q_norm.weight")),
      kNorm: config.qkNorm === false ? 0 : vector(headDim, at("self_attn.k_norm.weight")),
      o: panels(dModel, queryDim(config), at("self_attn.o_proj.weight")),
      mlpNorm: vector(dModel, at("post_attention_layernorm.weight")),
      gateUp: panels(2 * ffnDim, dModel, at("mlp.gate_proj.weight"), at("mlp.up_proj.weight")),
      down: panels(dModel, ffnDim, at("mlp.down_proj.weight"))
    }
  }
  const embedding = panels(vocabSize, dModel, "model.embed_tokens.weight")
  const weights: Weights = {
    embedding,
    layers: Array.from({ length: config.layers }, (_, l) => layer(l)),
    finalNorm: vector(dModel, "model.norm.weight"),
    head: config.tied === true ? embedding : panels(vocabSize, dModel, "lm_head.weight")
  }
  const cosine = take(rotaryWords(config))
  return { weights, placed, turns: { cosine, sine: cosine + rotaryWords(config) * 2 } }
}

/** Bytes that a model takes before it is used: its base weights and its rotary table. */
export const storedBytes = (config: ModelConfig, source: SourceWeights): number => {
  let words = 0
  layStored(config, source, (count) => {
    words += Math.ceil(count / 16) * 16
    return 0
  })
  return words * 4
}

/** Where row `row` of a tensor belongs: llama.cpp's converter puts the two halves of a head's rotation beside each other. */
const unpaired = (row: number, rows: number, heads: number): number => {
  if (heads === 0) return row
  const headDim = rows / heads
  const within = row % headDim
  return row - within + (within & 1) * (headDim / 2) + (within >> 1)
}

/** Bytes of a file that are read at once, about. */
const chunkBytes = 1 << 22

/** Goes through the rows of a tensor in the order of the file; a vector is one row. */
const eachRow = (
  tensor: SourceTensor,
  file: OpenFile,
  body: (row: number, view: DataView, at: number, columns: number) => void
): void => {
  const columns = tensor.shape.at(-1)!
  const rows = tensor.shape.length === 1 ? 1 : tensor.shape[0]!
  const bytes = rowBytes(tensor.type, columns)!
  const step = Math.max(1, Math.floor(chunkBytes / bytes))
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first)
    const chunk = file.read(tensor.offset + first * bytes, count * bytes)
    const view = new DataView(chunk.buffer)
    for (let i = 0; i < count; i++) body(unpaired(first + i, rows, tensor.pairedHeads), view, i * bytes, columns)
  }
}

/** What the rows of a tensor are, for the form in which they are stored. */
const blocksOf = (tensor: SourceTensor, view: DataView, at: number, row: Float32Array): Blocks => {
  const { decode }: TypeDefinition = tensorTypes[tensor.type]
  if (decode._tag === "Groups" && decode.group === blockLength) {
    const count = row.length / blockLength
    const blocks = { q: new Int8Array(row.length), scale: new Float32Array(count), min: new Float32Array(count) }
    decode.groups(view, at, row.length, blocks.q, blocks.scale, blocks.min)
    return blocks
  }
  decodeFloats(tensor.type, view, at, row.length, row)
  return toBlocks(row)
}

const fillPlaced = (
  kernels: Kernels,
  { from, to }: Placed,
  source: SourceWeights,
  fileOf: (path: string) => OpenFile
): void => {
  let first = 0
  for (const name of from) {
    const tensor = source.tensors[name]!
    const row = new Float32Array(tensor.shape.at(-1)!)
    const finite = (values: Float32Array): void => {
      if (!values.every(Number.isFinite)) {
        throw new Problem({ reason: "Malformed", detail: `the tensor ${name} holds a number that is not finite` })
      }
    }
    eachRow(tensor, fileOf(tensor.path), (index, view, at, columns) => {
      if ("form" in to && to.form === "q8") {
        const blocks = blocksOf(tensor, view, at, row)
        finite(blocks.scale)
        finite(blocks.min)
        storeBlocks(kernels, to, first + index, blocks)
        return
      }
      decodeFloats(tensor.type, view, at, columns, row)
      finite(row)
      if ("form" in to) storeFloats(kernels, to, first + index, row)
      else kernels.floats(to.at + first * 4, columns).set(row)
    })
    first += tensor.shape[0]!
  }
}

/** Where a model's weights go: room for them, and who fills it. */
export interface Place {
  readonly reserve: (words: number) => Either.Either<number, EngineError>
  readonly fill: (body: () => Either.Either<void, EngineError>) => Either.Either<void, EngineError>
}

/** A block of a memory that other threads share, filled by the first. */
export const sharedPlace = (shared: SharedMemory, block: number): Place => ({
  reserve: () => Either.right(shared.blocks[block]!.at),
  fill: (body) => fillOnce(shared, block, body)
})

/** Loads a model from its files, which have been checked when they were opened. */
export const loadStored = (
  kernels: Kernels,
  name: string,
  config: ModelConfig,
  source: SourceWeights,
  { fill, reserve }: Place = { reserve: kernels.allocate, fill: (body) => body() }
): Either.Either<Model, EngineError> =>
  Either.gen(function*() {
    const { placed, turns, weights } = yield* layOut(reserve, (take) => layStored(config, source, take))
    const filled = fill(() => {
      fillRotaryTable(kernels, config, turns)
      return readAll(kernels, name, placed, source)
    })
    if (Either.isLeft(filled)) kernels.release(weights.embedding.at)
    yield* filled
    return {
      kernels,
      config,
      layout: weightLayout(config),
      flat: 0,
      weights,
      ...turns,
      workspace: makeWorkspace(kernels, config)
    }
  })

const readAll = (
  kernels: Kernels,
  name: string,
  placed: ReadonlyArray<Placed>,
  source: SourceWeights
): Either.Either<void, EngineError> => {
  const open: Array<OpenFile> = []
  try {
    for (const { modified, path, size } of source.files) {
      const file = openFile(path)
      open.push(file)
      if (file.size !== size || file.modified !== modified) {
        throw new Problem({ reason: "Unreadable", detail: `${path} has changed since the engine was made` })
      }
    }
    for (const one of placed) fillPlaced(kernels, one, source, (path) => open.find((file) => file.path === path)!)
    return Either.void
  } catch (error) {
    const detail = error instanceof Problem ? error.detail : String(error)
    return Either.left(
      new EngineError({ reason: "InvalidInput", detail: `the model ${name} cannot be loaded: ${detail}` })
    )
  } finally {
    for (const file of open) file.close()
  }
}
