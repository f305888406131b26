/**
 * The engine that a server trains and samples with, as a service: another back end can be put behind the same interface.
 *
 * Runs and samplers are addressed by opaque string ids that the caller chooses. Operations on one run are applied in the
 * order in which they are submitted; making a sampler of a run is one of them. Every method validates all of its input
 * before it changes anything, and copies it when it is run: what the caller does to its arrays afterwards is its own
 * affair. Interrupting `sample` stops the work; interrupting anything else stops only the wait for it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/**
 * Why the engine refused or failed an operation. `InvalidInput` is the caller's mistake and changed nothing, and so is a
 * sampler or run whose weights have diverged. `LimitReached` may succeed once something is released. After `Crashed` the
 * engine's runs and samplers are lost.
 *
 * @since 0.1.0
 * @category errors
 */
export class EngineError extends Data.TaggedError("EngineError")<{
  readonly reason: "InvalidInput" | "UnknownModel" | "UnknownRun" | "UnknownSampler" | "LimitReached" | "Crashed"
  readonly detail: string
}> {
  override get message() {
    return this.detail
  }
}

/**
 * A base model that the engine can train and sample.
 *
 * @since 0.1.0
 * @category models
 */
export interface ModelInfo {
  readonly name: string
  readonly vocabSize: number
  /** The longest sequence, prompt and completion together, in tokens. */
  readonly maxContext: number
  /** Tokens that end a completion when no `stop` is given. */
  readonly eosTokens: ReadonlyArray<number>
  readonly tokenizerId: string
  /** How many numbers its weights are, where that is known. */
  readonly parameters?: number | undefined
  /**
   * The text of its tokenizer's `tokenizer.json` and `tokenizer_config.json`, of a model that brought them; the latter
   * holds the chat template.
   */
  readonly tokenizer?: { readonly tokenizerJson: string; readonly configJson: string } | undefined
}

/**
 * LoRA settings of a run; scale is `32 / rank`.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoraConfig {
  readonly rank: number
  readonly seed: number
  readonly trainAttn: boolean
  readonly trainMlp: boolean
  readonly trainUnembed: boolean
}

/**
 * A tensor of loss inputs. Integers are held as `Int32Array`, everything else as `Float32Array`. `crow` and `col` are
 * present for a sparse CSR matrix, whose `data` then holds only the stored values.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tensor {
  readonly data: Float32Array | Int32Array
  readonly shape: ReadonlyArray<number>
  readonly crow?: Int32Array | undefined
  readonly col?: Int32Array | undefined
}

/**
 * One training example: `N` input tokens and the inputs of the loss, each of shape `(N)` or `(N, K)`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Datum {
  readonly tokens: Int32Array
  readonly lossInputs: Readonly<Record<string, Tensor>>
}

/**
 * A pass over a batch. With `backward` the gradients are added to the run's accumulator; the loss is a sum.
 *
 * @since 0.1.0
 * @category models
 */
export interface PassRequest {
  readonly data: ReadonlyArray<Datum>
  /** `cross_entropy`, `importance_sampling`, `ppo`, `cispo`, `dro` or `gspo`. */
  readonly lossFn: string
  readonly lossConfig: Readonly<Record<string, number>>
  readonly backward: boolean
}

/**
 * What a pass gives: per datum the log-probabilities of the targets, in the targets' shape; the summed loss.
 *
 * @since 0.1.0
 * @category models
 */
export interface PassResult {
  readonly outputs: ReadonlyArray<{ readonly logprobs: Float32Array; readonly shape: ReadonlyArray<number> }>
  readonly loss: number
}

/**
 * AdamW settings of one step. `gradClipNorm` 0 means no clipping.
 *
 * @since 0.1.0
 * @category models
 */
export interface AdamParams {
  readonly learningRate: number
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  readonly weightDecay: number
  readonly gradClipNorm: number
}

/**
 * Named tensors: weights and, optionally, the state of the optimiser (`m`, `v` per tensor and the step count).
 *
 * @since 0.1.0
 * @category models
 */
export interface RunState {
  readonly baseModel: string
  readonly lora: LoraConfig | null
  readonly weights: ReadonlyArray<NamedTensor>
  readonly optimizer: {
    readonly step: number
    readonly m: ReadonlyArray<NamedTensor>
    readonly v: ReadonlyArray<NamedTensor>
  } | null
}

/**
 * A tensor of weights, or of an optimiser's moments, which have the names of the weights that they belong to.
 *
 * @since 0.1.0
 * @category models
 */
export interface NamedTensor {
  /** PEFT name for LoRA tensors (`base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`), Hugging Face name otherwise. */
  readonly name: string
  readonly shape: ReadonlyArray<number>
  readonly data: Float32Array
}

/**
 * Completions to draw. The filters are applied in the order temperature, top-k, top-p. Prompt and
 * completion together are at most `maxContext` tokens.
 *
 * @since 0.1.0
 * @category models
 */
export interface SampleRequest {
  /** At least one token. */
  readonly prompt: Int32Array
  /** At least 1. */
  readonly numSamples: number
  /** Absent: until a stop or the context is full. 0 draws nothing, for a prompt's log-probabilities alone. */
  readonly maxTokens?: number | undefined
  /** 0: the likeliest token, the lowest id among equals. */
  readonly temperature: number
  /** -1: off. */
  readonly topK: number
  /** Above 0; 1: off. */
  readonly topP: number
  /**
   * 64 bits. Sample `i` of a request draws from `seed` and `i` only, so it is the same whatever else runs; absent: an
   * unpredictable seed, from `Random`.
   */
  readonly seed?: bigint | undefined
  /** They are included. Absent: the model's end-of-sequence tokens stop; empty: none does. */
  readonly stopTokens?: ReadonlyArray<number> | undefined
  /** Looked for in the completion's bytes; the token that completes one is the last, and kept whole. */
  readonly stopStrings?: ReadonlyArray<string> | undefined
  readonly promptLogprobs: boolean
  /** 0: off. */
  readonly topkPromptLogprobs: number
  /** 0: off. */
  readonly topkSampleLogprobs: number
}

/**
 * The `k` likeliest tokens at each position, likeliest first, row-major `[length][k]`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Topk {
  readonly tokens: Int32Array
  readonly logprobs: Float32Array
  readonly k: number
  readonly length: number
}

/**
 * One completion.
 *
 * @since 0.1.0
 * @category models
 */
export interface SampledSequence {
  readonly stopReason: "stop" | "length"
  readonly tokens: Int32Array
  /** One a token. At temperature 1 they have the bits that a pass of the same weights gives. */
  readonly logprobs: Float32Array
  /** At the temperature of `logprobs`. */
  readonly topk?: Topk | undefined
}

/**
 * Tokens of one completion of a request, as they are drawn.
 *
 * @since 0.2.0
 * @category models
 */
export interface SampledTokens {
  /** Which of the request's samples. */
  readonly index: number
  /** The next ones, one or more; none if the sample ends without any. */
  readonly tokens: Int32Array
  /** One a token. */
  readonly logprobs: Float32Array
  readonly topk?: Topk | undefined
  /** Comes with the last tokens of the sample. */
  readonly stopReason?: "stop" | "length" | undefined
}

/**
 * What a request gives: a sequence for each sample, in the order of their indices.
 *
 * @since 0.1.0
 * @category models
 */
export interface SampleResult {
  readonly sequences: ReadonlyArray<SampledSequence>
  /** At temperature 1; as long as the prompt, the first entry NaN: nothing predicts it. */
  readonly promptLogprobs?: Float32Array | undefined
  /** The first row is the padding `(0, -99999)`. */
  readonly topkPromptLogprobs?: Topk | undefined
}

/**
 * The engine. `InProcessEngine.layer` computes on the calling thread, `WorkerEngine.layer` in threads of its own.
 *
 * @since 0.1.0
 * @category services
 */
export class Engine extends Context.Tag("tinkex/Engine")<Engine, {
  readonly models: ReadonlyArray<ModelInfo>
  /** Makes a run: LoRA adapters on the frozen base, or (`lora: null`) a trainable copy of every parameter. */
  readonly createRun: (runId: string, options: {
    readonly baseModel: string
    readonly lora: LoraConfig | null
  }) => Effect.Effect<void, EngineError>
  /** Makes a run from an exported state. Without `optimizer` the optimiser starts afresh. */
  readonly importRun: (runId: string, state: RunState, options: { readonly optimizer: boolean }) => Effect.Effect<
    void,
    EngineError
  >
  /** Replaces the weights of a run in place; the gradient accumulator is cleared. */
  readonly loadRun: (runId: string, state: RunState, options: { readonly optimizer: boolean }) => Effect.Effect<
    void,
    EngineError
  >
  readonly exportRun: (runId: string, options: { readonly optimizer: boolean }) => Effect.Effect<RunState, EngineError>
  /** Frees a run after what was submitted before; a run that is not there is no error. */
  readonly releaseRun: (runId: string) => Effect.Effect<void>
  readonly pass: (runId: string, request: PassRequest) => Effect.Effect<PassResult, EngineError>
  /** Applies and clears the accumulated gradients. `gradNorm` is the global L2 norm before clipping. */
  readonly optimStep: (runId: string, params: AdamParams) => Effect.Effect<{ readonly gradNorm: number }, EngineError>
  /** Freezes a sampler: the weights of a run as they are now, an exported state, or a base model. */
  readonly createSampler: (
    samplerId: string,
    source: { readonly runId: string } | { readonly state: RunState } | { readonly baseModel: string }
  ) => Effect.Effect<void, EngineError>
  /** Takes no further requests, and frees the sampler when those that it has are done. */
  readonly releaseSampler: (samplerId: string) => Effect.Effect<void>
  /**
   * Interrupting it stops the work between two tokens. Concurrent requests of one sampler are decoded as one batch.
   * `onTokens` hears of the tokens as they are drawn, all of them before the result; it must not throw. The result is the
   * same with and without it. See `sampleStream`.
   */
  readonly sample: (samplerId: string, request: SampleRequest, options?: {
    readonly onTokens?: ((tokens: SampledTokens) => void) | undefined
  }) => Effect.Effect<SampleResult, EngineError>
}>() {}

/**
 * The completions of a request as a stream of tokens, those of several samples interleaved as they are drawn. Whoever
 * stops reading stops the work.
 *
 * @since 0.2.0
 * @category combinators
 */
export const sampleStream = (
  samplerId: string,
  request: SampleRequest
): Stream.Stream<SampledTokens, EngineError, Engine> =>
  Stream.asyncPush<SampledTokens, EngineError, Engine>((emit) =>
    Effect.flatMap(Engine, (engine) => {
      const onTokens = (tokens: SampledTokens): void => void emit.single(tokens)
      return Effect.forkScoped(Effect.matchCause(engine.sample(samplerId, request, { onTokens }), {
        onFailure: emit.halt,
        onSuccess: () => emit.end()
      }))
    }), { bufferSize: "unbounded" })
