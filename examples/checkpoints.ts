/**
 * What training leaves behind: listing, describing, sharing, downloading and deleting checkpoints.
 *
 *     npx tsx examples/checkpoints.ts
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as FileSystem from "@effect/platform/FileSystem"
import { DateTime, Effect, Layer, Stream } from "effect"
import { Download, Future, RestClient, ServiceClient } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const rest = yield* RestClient.RestClient
  const fs = yield* FileSystem.FileSystem

  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
  yield* Effect.flatMap(training.saveState("state", { userMetadata: { note: "before anything" } }), Future.await)
  const { path } = yield* Effect.flatMap(training.saveWeightsForSampler("weights"), Future.await)

  // pages are asked for as the stream is read
  yield* rest.listUserCheckpoints().pipe(
    Stream.runForEach(({ checkpointType, sizeBytes, time, tinkerPath }) =>
      Effect.log(`${DateTime.formatIso(time)} ${checkpointType} ${sizeBytes} bytes ${tinkerPath}`)
    )
  )
  yield* rest.publishCheckpoint(path)
  yield* rest.setCheckpointTtl(path, "2 hours")
  const { expiresAt } = yield* rest.getCheckpoint(path)
  yield* Effect.log(`public until ${expiresAt === undefined ? "for ever" : DateTime.formatIso(expiresAt)}`)

  const directory = yield* fs.makeTempDirectoryScoped()
  const { files } = yield* Download.download(path, { directory })
  yield* Effect.log(`downloaded ${files.map(({ name }) => name).join(", ")}`)

  yield* rest.deleteCheckpoint(path)
  const error = yield* Effect.flip(rest.getCheckpoint(path))
  yield* Effect.log(error.message)
}).pipe(Effect.scoped)

program.pipe(
  Effect.provide(Layer.provideMerge(RestClient.layer, LocalTinkex.layer())),
  Effect.provide(NodeContext.layer),
  NodeRuntime.runMain
)
