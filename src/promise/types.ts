/** What `connect` gives: the clients, with promises. */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Renderer from "../chat/Renderer.js"
import type * as ChatModel from "../client/ChatModel.js"
import type { ListOptions, RunListOptions, ScopeOptions } from "../client/RestClient.js"
import type { ModelOptions, SampleOptions } from "../client/SamplingClient.js"
import type * as SamplingClient from "../client/SamplingClient.js"
import type { LoraOptions, StateOptions as FromStateOptions } from "../client/ServiceClient.js"
import type * as ServiceClient from "../client/ServiceClient.js"
import type { SaveOptions } from "../client/TrainingClient.js"
import type * as TrainingClient from "../client/TrainingClient.js"
import type { ArchiveUrl, Checkpoint, TrainingRun } from "../protocol/Checkpoint.js"
import type { Datum } from "../protocol/Datum.js"
import type { GetInfoResponse } from "../protocol/Model.js"
import type * as ModelInput from "../protocol/ModelInput.js"
import type { SampleResponse } from "../protocol/Sampling.js"
import type { ServerCapabilities } from "../protocol/Service.js"
import type {
  AdamParams,
  ForwardBackwardOutput,
  LossFn,
  LossFnConfig,
  OptimStepResponse
} from "../protocol/Training.js"
import type { LoadWeightsResponse, SaveWeightsResponse } from "../protocol/Weights.js"
import type { Tokenizer } from "../tokenizer/Tokenizer.js"

/**
 * What every call takes. A call that is given up rejects with the reason of the signal; what the service has accepted by then it
 * does all the same.
 *
 * @since 0.2.0
 * @category models
 */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/**
 * What is open until it is closed, by `await using` or by `close`. Closing again does nothing; calls after it reject with
 * `ClientClosed`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Open extends AsyncDisposable {
  readonly close: () => Promise<void>
}

/**
 * An operation that the service has accepted. Waiting for the result can be given up and begun again; the operation goes on. It
 * is not a promise itself, so that `await training.forwardBackward(...)` waits for the acceptance alone and the next operation can
 * be handed in before this one is done.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pending<A> {
  readonly requestIds: ReadonlyArray<string>
  readonly result: (options?: CallOptions) => Promise<A>
}

/**
 * How to go on from saved weights; with `optimizer` the optimiser's state is loaded too.
 *
 * @since 0.2.0
 * @category models
 */
export interface StateOptions extends FromStateOptions {
  readonly optimizer?: boolean | undefined
}

/**
 * A session of a service (`ServiceClient.Client`).
 *
 * @since 0.2.0
 * @category models
 */
export interface Service extends Open {
  /** The client behind it, for `run`. */
  readonly client: ServiceClient.Client
  readonly sessionId: string
  readonly rest: Rest
  readonly serverCapabilities: (options?: CallOptions) => Promise<ServerCapabilities>
  /** A new model with a LoRA adapter to train. */
  readonly createLoraTrainingClient: (options: LoraOptions & CallOptions) => Promise<Training>
  /** A new model with the weights of a checkpoint. */
  readonly createTrainingClientFromState: (path: string, options?: StateOptions & CallOptions) => Promise<Training>
  readonly createSamplingClient: (options: ModelOptions & CallOptions) => Promise<Sampling>
  /** A model that converses: a sampler with the renderer of its model, or of the base model that is named. */
  readonly createChat: (
    options: ModelOptions & CallOptions & { readonly renderer?: Renderer.Renderer | undefined }
  ) => Promise<Chat>
  /** Runs an effect, as one over `client`: whatever has no promise here. It is interrupted when the service is closed. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>, options?: CallOptions) => Promise<A>
}

/**
 * A model in training (`TrainingClient.Client`). Operations reach the service in the order in which they are called.
 *
 * @since 0.2.0
 * @category models
 */
export interface Training extends Open {
  readonly client: TrainingClient.Client
  readonly modelId: string
  readonly forward: (
    data: ReadonlyArray<Datum>,
    lossFn: LossFn,
    options?: CallOptions & { readonly config?: LossFnConfig | undefined }
  ) => Promise<Pending<ForwardBackwardOutput>>
  /** Losses are sums; gradients add up until the next `optimStep`. */
  readonly forwardBackward: (
    data: ReadonlyArray<Datum>,
    lossFn: LossFn,
    options?: CallOptions & { readonly config?: LossFnConfig | undefined }
  ) => Promise<Pending<ForwardBackwardOutput>>
  readonly optimStep: (options?: Partial<AdamParams> & CallOptions) => Promise<Pending<OptimStepResponse>>
  readonly saveState: (
    name: string,
    options?: SaveOptions & CallOptions & { readonly overwrite?: boolean | undefined }
  ) => Promise<Pending<SaveWeightsResponse>>
  readonly loadState: (
    path: string,
    options?: CallOptions & { readonly optimizer?: boolean | undefined }
  ) => Promise<Pending<LoadWeightsResponse>>
  readonly saveWeightsForSampler: (
    name: string,
    options?: SaveOptions & CallOptions
  ) => Promise<Pending<{ readonly path: string }>>
  /** A sampler of the weights as they are now, without a checkpoint. It is closed with this client unless it is before. */
  readonly saveWeightsAndGetSamplingClient: (options?: CallOptions) => Promise<Sampling>
  readonly getInfo: (options?: CallOptions) => Promise<GetInfoResponse>
  readonly tokenizer: (options?: CallOptions) => Promise<Tokenizer>
  /** Frees the model at the service. */
  readonly unload: (options?: CallOptions) => Promise<Pending<void>>
}

/**
 * An open sampler (`SamplingClient.Client`).
 *
 * @since 0.2.0
 * @category models
 */
export interface Sampling extends Open {
  readonly client: SamplingClient.Client
  readonly sample: (options: SampleOptions & CallOptions) => Promise<SampleResponse>
  /** The log-probability of every token of the prompt; `null` for the first. */
  readonly computeLogprobs: (
    prompt: ModelInput.ModelInput | ModelInput.Tokens,
    options?: CallOptions & { readonly lastN?: number | undefined }
  ) => Promise<ReadonlyArray<number | null>>
  readonly tokenizer: (options?: CallOptions) => Promise<Tokenizer>
}

/**
 * A model that converses (`ChatModel.ChatModel`).
 *
 * @since 0.2.0
 * @category models
 */
export interface Chat extends Open {
  readonly model: ChatModel.ChatModel
  readonly generate: (options: ChatModel.Options & CallOptions) => Promise<ChatModel.Reply>
  readonly stream: (options: ChatModel.Options & CallOptions) => AsyncIterableIterator<ChatModel.StreamEvent>
}

/**
 * What training leaves behind (`RestClient.Client`): the calls that are needed most. Lists ask for the next page as they are read.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rest {
  readonly getTrainingRun: (runId: string, options?: ScopeOptions & CallOptions) => Promise<TrainingRun>
  readonly listTrainingRuns: (options?: RunListOptions & CallOptions) => AsyncIterableIterator<TrainingRun>
  readonly listCheckpoints: (runId: string, options?: CallOptions) => AsyncIterableIterator<Checkpoint>
  readonly listUserCheckpoints: (options?: ListOptions & CallOptions) => AsyncIterableIterator<Checkpoint>
  readonly getCheckpoint: (path: string, options?: CallOptions) => Promise<Checkpoint>
  /** A signed URL of the checkpoint's archive. */
  readonly getCheckpointArchiveUrl: (path: string, options?: CallOptions) => Promise<ArchiveUrl>
  readonly deleteCheckpoint: (path: string, options?: CallOptions) => Promise<void>
  readonly publishCheckpoint: (path: string, options?: CallOptions) => Promise<void>
  readonly unpublishCheckpoint: (path: string, options?: CallOptions) => Promise<void>
  /** Lets it expire so long from now, in whole seconds; `null`: never. */
  readonly setCheckpointTtl: (
    path: string,
    ttl: Duration.DurationInput | null,
    options?: CallOptions
  ) => Promise<void>
}
