import { Effect, Layer } from "effect"
import * as InProcessEngine from "../src/engine/InProcessEngine.js"
import * as NodeServer from "../src/server/NodeServer.js"
Effect.runPromise(Effect.gen(function*() {
  const { url } = yield* NodeServer.NodeServer
  console.log(url)
  yield* Effect.never
}).pipe(Effect.provide(NodeServer.layer({ port: 8799, clientConfig: { pjwtAuthEnabled: true, protoCompressFwdbwd: true } }).pipe(Layer.provide(InProcessEngine.layer())))))
