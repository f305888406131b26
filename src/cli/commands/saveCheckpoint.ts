/**
 * `tinkex checkpoint save`: a run, and its state under a name.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Future from "../../client/Future.js"
import { ServiceClient } from "../../client/ServiceClient.js"
import type { Connection } from "../terminal/connect.js"
import { service } from "../terminal/connectService.js"
import { Failed } from "../terminal/failed.js"
import * as Show from "../terminal/show.js"
import { Terminal } from "../terminal/terminal.js"

export const saveCheckpoint = (
  args: Connection & {
    readonly baseModel: Option.Option<string>
    readonly from: Option.Option<string>
    readonly name: string
    readonly sampler: boolean
    readonly rank: number
    readonly seed: Option.Option<number>
    readonly noMlp: boolean
    readonly noAttn: boolean
    readonly noUnembed: boolean
    readonly ttl: Option.Option<number>
    readonly json: boolean
    readonly format: "table" | "json"
  }
) =>
  Effect.gen(function*() {
    if (Option.isSome(args.baseModel) === Option.isSome(args.from)) {
      return yield* new Failed({ message: "expected exactly one of --base-model and --from" })
    }
    yield* Effect.gen(function*() {
      const client = yield* ServiceClient
      const terminal = yield* Terminal
      const training = yield* Option.isSome(args.from)
        ? client.createTrainingClientFromStateWithOptimizer(args.from.value)
        : client.createLoraTrainingClient({
          baseModel: Option.getOrElse(args.baseModel, () => ""),
          rank: args.rank,
          seed: Option.getOrUndefined(args.seed),
          trainMlp: !args.noMlp,
          trainAttn: !args.noAttn,
          trainUnembed: !args.noUnembed
        })
      const options = { ttl: Option.getOrUndefined(Option.map(args.ttl, (ttl) => Duration.seconds(ttl))) }
      const { path } = yield* Effect.flatMap(
        args.sampler
          ? training.saveWeightsForSampler(args.name, options)
          : Effect.map(training.saveState(args.name, options), Future.map(({ path }) => ({ path }))),
        Future.await
      )
      yield* Show.wantsJson(args)
        ? Show.json({ tinker_path: path, training_run_id: training.modelId })
        : terminal.print(path)
    }).pipe(Effect.provide(service(args)), Effect.scoped)
  })
