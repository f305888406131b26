/**
 * What `tinkex train` does.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ServiceClient from "../../client/ServiceClient.js"
import * as LocalTinkex from "../../LocalTinkex.js"
import * as NodeTinkex from "../../NodeTinkex.js"
import { progressBar } from "../../observability/Plot.js"
import * as Json from "../../protocol/Json.js"
import { describe } from "../../protocol/ParseProblem.js"
import * as Cost from "../../runs/Cost.js"
import * as Run from "../../runs/Run.js"
import * as TinkexConfig from "../../TinkexConfig.js"
import type { Connection } from "../terminal/connect.js"
import { Failed } from "../terminal/failed.js"
import { readInput } from "../terminal/readInput.js"
import * as Show from "../terminal/show.js"
import { Terminal } from "../terminal/terminal.js"
import * as Config from "./trainConfig.js"
import * as Plans from "./trainPlans.js"
import * as Sampled from "./trainSampled.js"

interface Args extends Connection {
  readonly config: string
  readonly local: boolean
  readonly dryRun: boolean
  readonly json: boolean
  readonly format: "table" | "json"
}

/** A server that does not answer for a while is waited for, as in any training. */
const client = ({ apiKey, baseUrl }: Connection) =>
  Layer.unwrapEffect(Effect.map(
    Effect.flatMap(
      NodeTinkex.withCredential<TinkexConfig.Options>({
        baseUrl: Option.getOrUndefined(baseUrl),
        apiKey: Option.getOrUndefined(apiKey)
      }),
      TinkexConfig.makeConfig
    ),
    ServiceClient.layer
  )).pipe(Layer.provideMerge(NodeTinkex.layerShared({ metrics: false })))

const decode = <A, I>(args: Args, schema: Schema.Schema<A, I>) =>
  Effect.gen(function*() {
    const wrong = (detail: string) => new Failed({ message: `${args.config}: ${detail}` })
    const text = yield* readInput(args.config, "CONFIG")
    const value = yield* Effect.mapError(Json.parse(text), ({ message }) => wrong(message))
    return yield* Effect.mapError(
      Schema.decodeUnknown(schema, { errors: "all", onExcessProperty: "error" })(value),
      (error) => wrong(describe(error))
    )
  })

const usageLines = (usage: Cost.Usage): string =>
  `trained ${usage.trained}, sampled ${usage.sampled}, read ${usage.prefillCached + usage.prefillUncached}`

const dryRun = (args: Args, config: Config.Common, plan: Plans.Plan) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const prices = yield* Cost.Prices
    const rates = Cost.ratesOf(prices, config.model)
    const usd = rates === undefined ? undefined : Cost.usd(rates, plan.usage)
    const note = Cost.noteOf(prices, config.model)
    if (Show.wantsJson(args)) {
      const { examples, first, steps, usage } = plan
      return yield* Show.json({ model: config.model, examples, steps, first, usage, usd: usd ?? null, note })
    }
    yield* Show.properties([
      ["Model", config.model],
      ["Examples", String(plan.examples)],
      ["Steps", String(plan.steps)],
      ["Tokens at most", usageLines(plan.usage)],
      ["Cost at most", usd === undefined ? note : `$${usd.toFixed(2)} (${note})`]
    ])
    yield* terminal.print("\nThe first example; what is learnt, or wanted, stands in brackets:")
    for (const line of plan.first.split("\n")) yield* terminal.print(line)
  })

const follow = (run: Run.Run, plan: Plans.Plan, done: { step: number; total: number }) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const events = yield* run.events
    yield* Effect.forkScoped(Stream.runForEach(events, (event) => {
      if (event._tag === "Began") {
        done.step = event.step
        done.total = event.total
        return event.step === 0 ? Effect.void : terminal.note(`going on at step ${event.step} of ${event.total}`)
      }
      if (event._tag !== "Step") return Effect.void
      done.step = event.step + 1
      const value = event.row[plan.figure]
      const told = typeof value === "number" ? `  ${plan.figure} ${value.toFixed(3)}` : ""
      const every = Math.max(1, Math.round(done.total / 10))
      const line = `${progressBar({ done: done.step, total: done.total, width: 30 })}${told}`
      return terminal.interactive
        ? terminal.progress(line)
        : done.step % every === 0
        ? terminal.note(`step ${done.step} of ${done.total}${told}`)
        : Effect.void
    }))
  })

const train = (args: Args, config: Config.Common, directory: string, plan: Plans.Plan) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const renderer = yield* Plans.rendererOf(config)
    const run = yield* Run.open(directory, {
      config: {
        baseModel: config.model,
        rank: config.rank,
        renderer: renderer.name,
        loadCheckpoint: config.loadCheckpoint
      },
      seed: config.seed
    })
    const done = { step: 0, total: plan.steps }
    yield* follow(run, plan, done)
    const { checkpoint, updates, usage } = yield* plan.train(run).pipe(
      Effect.onInterrupt(() =>
        Effect.zipRight(
          terminal.progress(""),
          terminal.note(`stopped at step ${done.step} of ${done.total}; the same command goes on from ${directory}`)
        )
      )
    )
    yield* terminal.progress("")
    if (Show.wantsJson(args)) {
      return yield* Show.json({
        directory,
        updates,
        usage,
        state_path: checkpoint?.path ?? null,
        sampler_path: checkpoint?.sampler ?? null
      })
    }
    yield* Show.properties([
      ["Run", directory],
      ["Updates", String(updates)],
      ["Tokens", usageLines(usage)],
      ["State", checkpoint?.path ?? Show.none],
      ["Sampler", checkpoint?.sampler ?? Show.none]
    ])
  })

const command = <A extends Config.Common, I>(
  schema: Schema.Schema<A, I>,
  make: (config: A, at: (file: string) => string) => Effect.Effect<Plans.Plan, unknown, Run.Needs>
) =>
(args: Args) =>
  Effect.gen(function*() {
    const config = yield* decode(args, schema)
    const at = yield* Plans.from(args.config)
    const directory = at(config.directory)
    const services = args.local
      ? LocalTinkex.layer(args.dryRun ? {} : { server: { dataDir: `${directory}/server` } })
      : client(args)
    if (args.local && !args.dryRun) {
      const fs = yield* FileSystem.FileSystem
      yield* fs.makeDirectory(directory, { recursive: true })
    }
    yield* Effect.flatMap(
      make(config, at),
      (plan) => args.dryRun ? dryRun(args, config, plan) : train(args, config, directory, plan)
    ).pipe(Effect.scoped, Effect.provide(services))
  })

export const sft = command(Config.Sft, Plans.sft)
export const dpo = command(Config.Dpo, Plans.dpo)
export const rl = command(Config.Rl, Sampled.rl)
export const distill = command(Config.Distill, Sampled.distill)
