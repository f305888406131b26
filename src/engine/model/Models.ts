/**
 * Base models as data: what an engine is given to train and sample.
 *
 * @since 0.1.0
 */
import type { ModelInfo } from "../Engine.js"
import type { SourceWeights } from "../files/tensorFile.js"
import type { Vocabulary } from "../files/tokenBytes.js"
import { type ModelConfig, nano as nanoShape } from "./modelConfig.js"
import { eosToken, tokenBytes } from "./nanoTokens.generated.js"
import { weightLayout } from "./weights.js"

/**
 * The shape of a decoder-only transformer of the Llama, Qwen2 or Qwen3 family. `headDim` is a multiple of 8, `dModel` and `ffnDim` are
 * multiples of 4, `heads` is a multiple of `kvHeads`; `ropeTheta` is the base of the rotary frequencies and `normEps` is
 * added to the mean square in every norm.
 *
 * @since 0.1.0
 * @category models
 */
export interface ModelShape extends ModelConfig {}

/**
 * A base model. `weights` are the ones that ship with the package, seeded random ones, those of files (`ModelFiles.open`),
 * or a flat array: the tensors named as in Hugging Face checkpoints one after another, each `[out][in]`, in the order
 * embedding; per layer input norm, q, k, v, their biases, q norm, k norm, o, post-attention norm, gate, up, down; final
 * norm; head; without those that the shape says the model has not.
 *
 * @since 0.1.0
 * @category models
 */
export interface ModelDefinition {
  readonly name: string
  readonly shape: ModelShape
  readonly weights:
    | { readonly shipped: "nano" }
    | { readonly seed: bigint }
    | { readonly flat: Float32Array }
    | { readonly stored: SourceWeights }
  /** Tokens that end a completion when a request names no stop tokens. */
  readonly eosTokens: ReadonlyArray<number>
  readonly tokenizerId: string
  /** The bytes of each token, by id; stop strings are looked for in them. */
  readonly tokenBytes: Vocabulary
  /** The files of its tokenizer, for clients that ask for them; absent: clients have it. */
  readonly tokenizer?: ModelInfo["tokenizer"]
}

/**
 * `tinkex/nano`: 0.9 million parameters, 4 layers, 512 tokens, a context of 2048, pre-trained.
 *
 * @since 0.1.0
 * @category models
 */
export const nano: ModelDefinition & { readonly tokenBytes: ReadonlyArray<Uint8Array> } = {
  name: "tinkex/nano",
  shape: nanoShape,
  weights: { shipped: "nano" },
  eosTokens: [eosToken],
  tokenizerId: "tinkex/nano",
  tokenBytes
}

/**
 * `tinkex/nano-random`: the same model with seeded random weights, for tests and for training from scratch.
 *
 * @since 0.1.0
 * @category models
 */
const nanoRandom: ModelDefinition = { ...nano, name: "tinkex/nano-random", weights: { seed: 0n } }

/**
 * The models that ship with the package, which an engine has when it is told nothing else.
 *
 * @since 0.2.0
 * @category models
 */
export const builtIn: ReadonlyArray<ModelDefinition> = [nano, nanoRandom]

/**
 * Whether a model's weights lie in files.
 *
 * @internal
 */
export const isStored = ({ weights }: ModelDefinition): boolean => "stored" in weights

/**
 * What an engine says about a model.
 *
 * @since 0.1.0
 * @category combinators
 */
export const info = ({ eosTokens, name, shape, tokenizer, tokenizerId }: ModelDefinition): ModelInfo => ({
  name,
  vocabSize: shape.vocabSize,
  maxContext: shape.maxContext,
  eosTokens,
  tokenizerId,
  parameters: weightLayout(shape).total,
  ...(tokenizer === undefined ? {} : { tokenizer })
})
