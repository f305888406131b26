/**
 * The clients against the embedded server, in one process: the server listens on a port of this machine, the engine trains
 * in a worker thread, and requests travel over HTTP as they do to any other server.
 *
 * @since 0.1.0
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import type { PlatformError } from "@effect/platform/Error"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Names from "./client/options.js"
import * as ServiceClient from "./client/ServiceClient.js"
import type { EngineError } from "./engine/Engine.js"
import type { ModelFileError } from "./engine/files/ModelFileError.js"
import * as ModelFiles from "./engine/files/ModelFiles.js"
import * as WorkerEngine from "./engine/host/WorkerEngine.js"
import { builtIn, type ModelDefinition } from "./engine/model/Models.js"
import * as NodeTinkex from "./NodeTinkex.js"
import { known } from "./protocol/options.js"
import type { CheckpointError } from "./server/checkpoints/CheckpointError.js"
import * as NodeServer from "./server/NodeServer.js"
import type * as ServerConfig from "./server/ServerConfig.js"
import type * as Tinkex from "./Tinkex.js"
import type * as TinkexConfig from "./TinkexConfig.js"
import { config as configNames, configuredAll } from "./TinkexConfig/options.js"
import type { TinkexError } from "./TinkexError.js"
import * as Tokenizers from "./tokenizer/Tokenizers.js"

/**
 * Where the embedded server listens.
 *
 * @since 0.1.0
 * @category services
 */
export class LocalServer extends Context.Tag("tinkex/LocalServer")<LocalServer, {
  /** What clients take as their base URL. */
  readonly baseUrl: string
}>() {}

/**
 * Settings of the embedded server and its engine. Nothing need be set: the server takes a free port of the loopback
 * interface, keeps checkpoints as long as it runs, and asks for no key.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerOptions extends ServerConfig.Options, NodeServer.ListenOptions {
  readonly engine?: WorkerEngine.WorkerEngineOptions | undefined
}

/**
 * A model beside the built-in ones: a GGUF file or a Hugging Face folder, by its path or with more said about it, or a
 * definition.
 *
 * @since 0.2.0
 * @category models
 */
export type LocalModel = string | ModelFiles.ModelAt | ModelDefinition

/**
 * Settings of the server, of the client and of what clients share.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Omit<TinkexConfig.Options, "baseUrl">, Tinkex.SharedOptions, NodeTinkex.HttpOptions {
  readonly server?: ServerOptions | undefined
  /** Models beside the built-in ones. */
  readonly models?: ReadonlyArray<LocalModel> | undefined
}

/**
 * Why the embedded server did not start.
 *
 * @since 0.1.0
 * @category errors
 */
export type StartError =
  | NodeServer.ListenError
  | ServerConfig.SettingError
  | CheckpointError
  | EngineError
  | ModelFileError
  | PlatformError

const serverNames = known<Pick<Options, "server" | "models">>("the embedded server", { server: true, models: true })

/** The definitions of models, those out of files opened. */
const definitions = (models: ReadonlyArray<LocalModel>) => {
  const defined: Array<ModelDefinition> = []
  const files: Array<ModelFiles.ModelAt> = []
  for (const model of models) {
    if (typeof model === "string") files.push({ path: model })
    else if ("shape" in model) defined.push(model)
    else files.push(model)
  }
  return Effect.map(ModelFiles.openAll(files), (opened) => [...defined, ...opened])
}

/** The engine with the models that it is told, by default the built-in ones, and with `models` besides. */
const engine = (options: WorkerEngine.WorkerEngineOptions = {}, models: ReadonlyArray<LocalModel> = []) =>
  Layer.unwrapEffect(
    Effect.map(
      definitions(models),
      (more) => WorkerEngine.layer({ ...options, models: [...(options.models ?? builtIn), ...more] })
    )
  )

const server = ({ engine: engineOptions, ...options }: ServerOptions = {}, models?: ReadonlyArray<LocalModel>) =>
  Layer.effect(LocalServer, Effect.map(NodeServer.NodeServer, ({ url }) => ({ baseUrl: url }))).pipe(
    Layer.provide(NodeServer.layer(options)),
    Layer.provide(engine(engineOptions, models)),
    Layer.provide(NodeContext.layer)
  )

const shared = (options: Tinkex.SharedOptions & NodeTinkex.HttpOptions) =>
  NodeTinkex.layerShared({
    ...Names.shared.pick(options),
    ...Names.http.pick(options),
    tokenizers: options.tokenizers ?? Tokenizers.layer
  })

/**
 * The embedded server and what clients share, for clients that the program makes itself: `ServiceClient.make({ baseUrl })`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerServer = (
  options: Omit<Options, keyof TinkexConfig.Options> = {}
): Layer.Layer<LocalServer | Tinkex.Shared | HttpClient.HttpClient, StartError | TinkexError> =>
  Layer.unwrapEffect(Effect.map(
    configuredAll("the server and what clients share", [Names.shared, Names.http, serverNames], options),
    () => Layer.merge(server(options.server, options.models), shared(options))
  ))

/** A client of this server has its key, unless it is to have another. */
const clientOptions = (options: Options, baseUrl: string): TinkexConfig.Options => ({
  ...(options.server?.apiKey === undefined ? {} : { apiKey: options.server.apiKey }),
  ...configNames.pick(options),
  baseUrl
})

/**
 * The embedded server with a client of it, which has the server's key.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  LocalServer | ServiceClient.ServiceClient | Tinkex.Shared | HttpClient.HttpClient,
  StartError | TinkexError
> =>
  Layer.unwrapEffect(Effect.map(
    configuredAll("a client with its server", [configNames, Names.shared, Names.http, serverNames], options),
    () =>
      Layer.unwrapEffect(
        Effect.map(LocalServer, ({ baseUrl }) => ServiceClient.layer(clientOptions(options, baseUrl)))
      ).pipe(Layer.provideMerge(layerServer({
        ...Names.shared.pick(options),
        ...Names.http.pick(options),
        server: options.server,
        models: options.models
      })))
  ))
