/** The clients, called through promises. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Renderer from "../chat/Renderer.js"
import * as ChatModel from "../client/ChatModel.js"
import * as Future from "../client/Future.js"
import type * as RestClient from "../client/RestClient.js"
import type * as SamplingClient from "../client/SamplingClient.js"
import type * as ServiceClient from "../client/ServiceClient.js"
import type * as TrainingClient from "../client/TrainingClient.js"
import type { TinkexError } from "../TinkexError.js"
import type * as Tokenizers from "../tokenizer/Tokenizers.js"
import type { Caller } from "./calls.js"
import type { Chat, Open, Pending, Rest, Sampling, Service, Training } from "./types.js"

/** What a caller brings to effects. */
type Services = ServiceClient.ServiceClient | Tokenizers.Tokenizers | HttpClient.HttpClient

const open = (caller: Caller<Services>): Open => ({ close: caller.close, [Symbol.asyncDispose]: caller.close })

/** Opens a client in a scope of its own, which is closed where it does not open. */
const opened = async <A, E, B>(
  caller: Caller<Services>,
  client: string,
  effect: Effect.Effect<A, E, Scope.Scope | Services>,
  signal: AbortSignal | undefined,
  wrap: (own: Caller<Services>, client: A) => B
): Promise<B> => {
  const own = caller.child(client)
  try {
    return wrap(own, await own.run("open", Scope.extend(effect, own.scope), signal))
  } catch (error) {
    await own.close()
    return Promise.reject(error)
  }
}

const sampling = (caller: Caller<Services>, client: SamplingClient.Client): Sampling => ({
  ...open(caller),
  client,
  sample: ({ signal, ...asked }) => caller.run("sample", client.sample(asked), signal),
  computeLogprobs: (prompt, { signal, ...asked } = {}) =>
    caller.run("compute_logprobs", client.computeLogprobs(prompt, asked), signal),
  tokenizer: ({ signal } = {}) => caller.run("tokenizer", client.tokenizer, signal)
})

const training = (caller: Caller<Services>, client: TrainingClient.Client): Training => {
  const submit = async <A>(
    operation: string,
    effect: Effect.Effect<Future.Future<A>, TinkexError>,
    signal: AbortSignal | undefined
  ): Promise<Pending<A>> => {
    const future = await caller.run(operation, effect, signal)
    return {
      requestIds: future.requestIds,
      result: ({ signal } = {}) => caller.run(operation, Future.await(future), signal)
    }
  }
  return {
    ...open(caller),
    client,
    modelId: client.modelId,
    forward: (data, lossFn, { config, signal } = {}) => submit("forward", client.forward(data, lossFn, config), signal),
    forwardBackward: (data, lossFn, { config, signal } = {}) =>
      submit("forward_backward", client.forwardBackward(data, lossFn, config), signal),
    optimStep: ({ signal, ...params } = {}) => submit("optim_step", client.optimStep(params), signal),
    saveState: (name, { signal, ...asked } = {}) => submit("save_weights", client.saveState(name, asked), signal),
    loadState: (path, { signal, ...asked } = {}) => submit("load_weights", client.loadState(path, asked), signal),
    saveWeightsForSampler: (name, { signal, ...asked } = {}) =>
      submit("save_weights_for_sampler", client.saveWeightsForSampler(name, asked), signal),
    saveWeightsAndGetSamplingClient: ({ signal } = {}) =>
      opened(caller, "sampling client", client.saveWeightsAndGetSamplingClient, signal, sampling),
    getInfo: ({ signal } = {}) => caller.run("get_info", client.getInfo, signal),
    tokenizer: ({ signal } = {}) => caller.run("tokenizer", client.tokenizer, signal),
    unload: ({ signal } = {}) => submit("unload_model", client.unload, signal)
  }
}

const chat = (caller: Caller<Services>, model: ChatModel.ChatModel): Chat => ({
  ...open(caller),
  model,
  generate: ({ signal, ...asked }) => caller.run("generate", model.generate(asked), signal),
  stream: ({ signal, ...asked }) => caller.iterate("stream", model.stream(asked), signal)
})

const rest = (caller: Caller<Services>, client: RestClient.Client): Rest => ({
  getTrainingRun: (runId, { signal, ...asked } = {}) =>
    caller.run("get_training_run", client.getTrainingRun(runId, asked), signal),
  listTrainingRuns: ({ signal, ...asked } = {}) =>
    caller.iterate("list_training_runs", client.listTrainingRuns(asked), signal),
  listCheckpoints: (runId, { signal } = {}) =>
    caller.iterate("list_checkpoints", client.listCheckpoints(runId), signal),
  listUserCheckpoints: ({ signal, ...asked } = {}) =>
    caller.iterate("list_user_checkpoints", client.listUserCheckpoints(asked), signal),
  getCheckpoint: (path, { signal } = {}) => caller.run("get_checkpoint", client.getCheckpoint(path), signal),
  getCheckpointArchiveUrl: (path, { signal } = {}) =>
    caller.run("get_checkpoint_archive_url", client.getCheckpointArchiveUrl(path), signal),
  deleteCheckpoint: (path, { signal } = {}) => caller.run("delete_checkpoint", client.deleteCheckpoint(path), signal),
  publishCheckpoint: (path, { signal } = {}) =>
    caller.run("publish_checkpoint", client.publishCheckpoint(path), signal),
  unpublishCheckpoint: (path, { signal } = {}) =>
    caller.run("unpublish_checkpoint", client.unpublishCheckpoint(path), signal),
  setCheckpointTtl: (path, ttl, { signal } = {}) =>
    caller.run("set_checkpoint_ttl", client.setCheckpointTtl(path, ttl), signal)
})

/** A sampler with the renderer that is given, or that of its model. */
const conversing = (
  client: ServiceClient.Client,
  model: SamplingClient.ModelOptions,
  given: Renderer.Renderer | undefined
) =>
  Effect.gen(function*() {
    const sampler = yield* client.createSamplingClient(model)
    const base = model.baseModel ?? (yield* sampler.getInfo).baseModel
    return ChatModel.make(sampler, given ?? (yield* Renderer.forModel(base)))
  })

export const service = (
  caller: Caller<Services>,
  client: ServiceClient.Client,
  restClient: RestClient.Client
): Service => ({
  ...open(caller),
  client,
  sessionId: client.sessionId,
  rest: rest(caller, restClient),
  serverCapabilities: ({ signal } = {}) => caller.run("get_server_capabilities", client.serverCapabilities, signal),
  createLoraTrainingClient: ({ signal, ...asked }) =>
    opened(caller, "training client", client.createLoraTrainingClient(asked), signal, training),
  createTrainingClientFromState: (path, { optimizer, signal, ...asked } = {}) =>
    opened(
      caller,
      "training client",
      optimizer === true
        ? client.createTrainingClientFromStateWithOptimizer(path, asked)
        : client.createTrainingClientFromState(path, asked),
      signal,
      training
    ),
  createSamplingClient: ({ signal, ...asked }) =>
    opened(caller, "sampling client", client.createSamplingClient(asked), signal, sampling),
  createChat: ({ renderer, signal, ...asked }) =>
    opened(caller, "chat", conversing(client, asked, renderer), signal, chat),
  run: (effect, { signal } = {}) => caller.run("run", effect, signal)
})
