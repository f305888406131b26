/** The embedded server in the page, over an engine in a worker, with the clients that reach it without a socket. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ServiceClient from "../../../src/client/ServiceClient.js"
import { Engine } from "../../../src/engine/Engine.js"
import * as WorkerEngine from "../../../src/engine/host/WorkerEngine.js"
import type { Spawn } from "../../../src/engine/host/workers.js"
import { connect, type Service } from "../../../src/promise/index.js"
import * as Server from "../../../src/server/Server.js"
import * as MemoryFileSystem from "../../../src/testing/internal/memoryFileSystem.js"
import * as Tinkex from "../../../src/Tinkex.js"
import * as Tokenizers from "../../../src/tokenizer/Tokenizers.js"

const spawn: Spawn = (data, transfer) => {
  const worker = new Worker("worker.js")
  // ports of Node and of the browser are the same here: node.ts
  worker.postMessage(data, transfer as unknown as Array<Transferable>)
  return {
    postMessage: (message, transfer = []) => worker.postMessage(message, transfer as unknown as Array<Transferable>),
    on: (event, listener) => {
      if (event === "message") worker.addEventListener("message", ({ data }) => listener(data))
      if (event === "error") worker.addEventListener("error", ({ message }) => listener(new Error(message)))
    },
    terminate: async () => worker.terminate()
  }
}

const client = Layer.effect(HttpClient.HttpClient, Effect.map(Server.Server, ({ client }) => client))

const layer = ServiceClient.layer({ baseUrl: "http://page.tinkex.test" }).pipe(
  Layer.provideMerge(Tinkex.layerShared({ tokenizers: Tokenizers.layer })),
  Layer.provideMerge(client),
  Layer.provideMerge(Server.layer()),
  Layer.provide(Layer.scoped(Engine, WorkerEngine.makeWith({}, spawn))),
  Layer.provide(Layer.merge(MemoryFileSystem.layer, Path.layer))
)

/** Starts them. */
export const start = (): Promise<Service> => connect(layer)
