/**
 * Training, sampling and chat as promises, for programs without Effect: `connect` takes a layer and gives a service whose methods
 * are async. What fails rejects with the tagged error itself, lists and streams are async iterables, every call takes an
 * `AbortSignal`, and what is opened is closed by `await using` or `close` (docs/without-effect.md).
 *
 * @since 0.2.0
 */
/// <reference lib="esnext.disposable" preserve="true" />
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import { HttpTransport } from "../client/HttpTransport.js"
import * as RestClient from "../client/RestClient.js"
import * as ServiceClient from "../client/ServiceClient.js"
import type * as Tokenizers from "../tokenizer/Tokenizers.js"
import * as Calls from "./calls.js"
import * as Clients from "./clients.js"
import type { CallOptions, Service } from "./types.js"

export type {
  /**
   * @since 0.2.0
   * @category models
   */
  CallOptions,
  /**
   * @since 0.2.0
   * @category models
   */
  Chat,
  /**
   * @since 0.2.0
   * @category models
   */
  Open,
  /**
   * @since 0.2.0
   * @category models
   */
  Pending,
  /**
   * @since 0.2.0
   * @category models
   */
  Rest,
  /**
   * @since 0.2.0
   * @category models
   */
  Sampling,
  /**
   * @since 0.2.0
   * @category models
   */
  Service,
  /**
   * @since 0.2.0
   * @category models
   */
  StateOptions,
  /**
   * @since 0.2.0
   * @category models
   */
  Training
} from "./types.js"

/**
 * What the layer of `connect` has to provide, as those of `NodeTinkex`, `LocalTinkex` and `TestServer` do.
 *
 * @since 0.2.0
 * @category models
 */
export type Required = ServiceClient.ServiceClient | Tokenizers.Tokenizers | HttpClient.HttpClient

const clients = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  return { service, rest: yield* Effect.provideService(RestClient.make, HttpTransport, service.transport) }
})

/**
 * A service over the parts that a layer provides, with a session that ends when it is closed. Rejects with what the layer fails
 * with: a key that is missing, a server that does not answer.
 *
 * ```ts
 * import { Datum } from "tinkex"
 * import * as LocalTinkex from "tinkex/LocalTinkex"
 * import { connect } from "tinkex/promise"
 *
 * await using service = await connect(LocalTinkex.layer())
 * await using training = await service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 16 })
 * const { encode } = await training.tokenizer()
 * const gradients = await training.forwardBackward([Datum.fromCompletion(encode("2 + 2 ="), encode(" 4"))], "cross_entropy")
 * const step = await training.optimStep({ learningRate: 1e-2 })
 * console.log((await gradients.result()).metrics["loss:sum"], (await step.result()).metrics)
 * ```
 *
 * @since 0.2.0
 * @category constructors
 */
export const connect = async <R, E>(
  layer: Layer.Layer<R | Required, E>,
  { signal }: CallOptions = {}
): Promise<Service> => {
  const scope = Effect.runSync(Scope.make())
  const starting = Calls.make(Runtime.defaultRuntime, scope, "service")
  try {
    const runtime = await starting.run("open", Scope.extend(Layer.toRuntime(layer), scope), signal)
    const caller = Calls.make(runtime, scope, "service")
    return await caller.run("open", Effect.map(clients, ({ rest, service }) => Clients.service(caller, service, rest)))
  } catch (error) {
    await starting.close()
    return Promise.reject(error)
  }
}
