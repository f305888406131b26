/**
 * The files of a checkpoint, in the layout that PEFT reads.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type { NamedTensor, RunState } from "../../engine/Engine.js"
import * as Safetensors from "./Safetensors.js"

interface File {
  readonly name: string
  readonly bytes: Uint8Array
}

const adapterFile = "adapter_model.safetensors"
const fullFile = "model.safetensors"
const optimizerFile = "optimizer.safetensors"

/** `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` is of module `q_proj`. */
const moduleOf = (name: string): string | undefined => /([^.]+)\.lora_[AB]/.exec(name)?.[1]

/**
 * PEFT's description of the adapter; the scale of LoRA here is `lora_alpha / r` with alpha 32 (docs/protocol/training.md#lora).
 */
const adapterConfig = (state: RunState): string =>
  JSON.stringify(
    {
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      base_model_name_or_path: state.baseModel,
      r: state.lora?.rank,
      lora_alpha: 32,
      lora_dropout: 0,
      bias: "none",
      fan_in_fan_out: false,
      inference_mode: true,
      init_lora_weights: true,
      modules_to_save: null,
      target_modules: [...new Set(state.weights.flatMap(({ name }) => moduleOf(name) ?? []))].sort()
    },
    null,
    2
  )

/** @internal */
export const stateFiles = (state: RunState): ReadonlyArray<File> => {
  const files: Array<File> = state.lora === null
    ? [{ name: fullFile, bytes: Safetensors.encode(state.weights) }]
    : [
      { name: "adapter_config.json", bytes: new TextEncoder().encode(adapterConfig(state)) },
      { name: adapterFile, bytes: Safetensors.encode(state.weights) }
    ]
  if (state.optimizer !== null) {
    const named = (prefix: string) => ({ data, name, shape }: NamedTensor) => ({ name: prefix + name, shape, data })
    files.push({
      name: optimizerFile,
      bytes: Safetensors.encode(
        [...state.optimizer.m.map(named("m.")), ...state.optimizer.v.map(named("v."))],
        { step: String(state.optimizer.step) }
      )
    })
  }
  return files
}

/** @internal */
export const readState = Effect.fnUntraced(function*<E>(
  entry: { readonly baseModel: string; readonly lora: RunState["lora"]; readonly hasOptimizer?: boolean | undefined },
  optimizer: boolean,
  read: (name: string) => Effect.Effect<Uint8Array, E>
): Effect.fn.Return<RunState, E | Safetensors.MalformedFile> {
  const weights = yield* Safetensors.decode(yield* read(entry.lora === null ? fullFile : adapterFile))
  const state: RunState = { baseModel: entry.baseModel, lora: entry.lora, weights: weights.tensors, optimizer: null }
  if (!optimizer || entry.hasOptimizer !== true) return state
  const moments = yield* Safetensors.decode(yield* read(optimizerFile))
  const named = (prefix: string) =>
    moments.tensors.filter(({ name }) => name.startsWith(prefix)).map(({ data, name, shape }) => ({
      name: name.slice(prefix.length),
      shape,
      data
    }))
  return { ...state, optimizer: { step: Number(moments.metadata["step"] ?? 0), m: named("m."), v: named("v.") } }
})

/**
 * Those of a checkpoint's files that go into an archive: the weights, and the mark that they are complete.
 *
 * @internal
 */
export const archived = (names: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...names.filter((name) => name !== optimizerFile),
  "checkpoint_complete"
]
