/**
 * The embedded server in the process of a test, without a socket and without a worker: requests of the clients go straight to
 * the application, and the engine trains on the test's own thread.
 *
 * @since 0.1.0
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Names from "../client/options.js"
import * as ServiceClient from "../client/ServiceClient.js"
import type { Engine, EngineError } from "../engine/Engine.js"
import type { EngineOptions } from "../engine/EngineOptions.js"
import * as InProcessEngine from "../engine/host/InProcessEngine.js"
import type { CheckpointError } from "../server/checkpoints/CheckpointError.js"
import * as Server from "../server/Server.js"
import type * as ServerConfig from "../server/ServerConfig.js"
import * as Tinkex from "../Tinkex.js"
import type * as TinkexConfig from "../TinkexConfig.js"
import { config as configNames } from "../TinkexConfig/options.js"
import type { TinkexError } from "../TinkexError.js"
import * as Tokenizers from "../tokenizer/Tokenizers.js"
import * as MemoryFileSystem from "./internal/memoryFileSystem.js"

/**
 * Settings of the server, of the client and of what clients share.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Omit<TinkexConfig.Options, "baseUrl">, Tinkex.SharedOptions {
  readonly server?: ServerConfig.Options | undefined
  readonly engine?: EngineOptions | undefined
}

/**
 * The base URL under which clients of a test name the server. Nothing listens there.
 *
 * @since 0.1.0
 * @category constants
 */
export const baseUrl = "http://tinkex.test"

/**
 * Checkpoints are kept in memory unless there is a directory for them.
 */
const files = (options: ServerConfig.Options | undefined) =>
  options?.dataDir === undefined ? Layer.merge(NodeContext.layer, MemoryFileSystem.layer) : NodeContext.layer

/**
 * The server over an engine of your own, as `RecordingEngine.layer`; an `HttpClient` that reaches it, and what clients share.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWithoutEngine = (
  options: Omit<Options, keyof TinkexConfig.Options | "engine"> = {}
): Layer.Layer<
  Server.Server | HttpClient.HttpClient | Tinkex.Shared,
  TinkexError | CheckpointError | ServerConfig.SettingError,
  Engine
> =>
  Tinkex.layerShared({ ...Names.shared.pick(options), tokenizers: options.tokenizers ?? Tokenizers.layer }).pipe(
    Layer.provideMerge(Layer.effect(HttpClient.HttpClient, Effect.map(Server.Server, ({ client }) => client))),
    Layer.provideMerge(Server.layer(options.server)),
    Layer.provide(files(options.server))
  )

/**
 * The server, an `HttpClient` that reaches it, and what clients share; for tests that make clients themselves:
 * `ServiceClient.make({ baseUrl: TestServer.baseUrl })`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer = (
  options: Omit<Options, keyof TinkexConfig.Options> = {}
): Layer.Layer<
  Server.Server | HttpClient.HttpClient | Tinkex.Shared,
  TinkexError | CheckpointError | ServerConfig.SettingError | EngineError
> => Layer.provide(layerWithoutEngine(options), InProcessEngine.layer(options.engine))

/**
 * The server with a client of it, which has the server's key unless it is given another.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  Server.Server | HttpClient.HttpClient | Tinkex.Shared | ServiceClient.ServiceClient,
  TinkexError | CheckpointError | ServerConfig.SettingError | EngineError
> =>
  Layer.provideMerge(
    ServiceClient.layer({
      ...(options.server?.apiKey === undefined ? {} : { apiKey: options.server.apiKey }),
      ...configNames.pick(options),
      baseUrl
    }),
    layerServer(options)
  )
