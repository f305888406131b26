/**
 * What the kinds of `tinkex train` come to: data, what they will use, and the training itself.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Conversation from "../../chat/Conversation.js"
import type * as Message from "../../chat/Message.js"
import * as Renderer from "../../chat/Renderer.js"
import type * as Datum from "../../protocol/Datum.js"
import * as ModelInput from "../../protocol/ModelInput.js"
import * as Preference from "../../recipes/Preference.js"
import * as Supervised from "../../recipes/Supervised.js"
import type * as Cost from "../../runs/Cost.js"
import * as Dataset from "../../runs/Dataset.js"
import type * as Run from "../../runs/Run.js"
import * as Preview from "../../training/Preview.js"
import { Failed } from "../terminal/failed.js"
import type { Common, Dpo, Sft } from "./trainConfig.js"

/** A training that is ready to begin. */
export interface Plan {
  /** What is counted as examples: conversations, pairs, problems, prompts. */
  readonly examples: number
  readonly steps: number
  /** The most that it will use, or about as much. */
  readonly usage: Cost.Usage
  /** The first example, with what is learnt of it in brackets. */
  readonly first: string
  /** Of the rows' figures the one that is watched. */
  readonly figure: string
  readonly train: (run: Run.Run) => Effect.Effect<Run.Summary, unknown, Run.Needs>
}

export type Planned = Effect.Effect<Plan, unknown, Run.Needs>

const nothing = { sampled: 0, prefillCached: 0, prefillUncached: 0, trained: 0 }

export const rendererOf = ({ model, renderer }: Common) => Renderer.forModel(model, { name: renderer })

const all = <A, E>(stream: Stream.Stream<A, E, FileSystem.FileSystem>, file: string) =>
  Effect.filterOrFail(
    Effect.map(Stream.runCollect(stream), (chunk) => Array.from(chunk)),
    (items) => items.length > 0,
    () => new Failed({ message: `${file} has no examples` })
  )

export const conversations = (file: string) => all(Conversation.fromJsonl(file), file)

/** What a model is asked: all but the answer at the end, if there is one. */
export const asked = ({ messages }: Conversation.Conversation): ReadonlyArray<Message.Message> =>
  messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages

const lengths = (data: ReadonlyArray<Datum.Datum>): number =>
  data.reduce((sum, { modelInput }) => sum + ModelInput.length(modelInput), 0)

const show = (renderer: Renderer.Renderer, datum: Datum.Datum | undefined): string =>
  datum === undefined ? "" : Preview.toText(datum, renderer.tokenizer.decode)

const dataset = <A>(items: ReadonlyArray<A>, batchSize: number) =>
  // a small file is one batch
  Dataset.fromArray(items, { batchSize: Math.min(batchSize, items.length) })

export const checkpoint = ({ saveEvery = 20 }: Common) => ({ every: saveEvery, keep: 3 })

/** Examples that are learnt as they are. */
export const taught = (
  config: Common & Pick<Sft, "batchSize" | "epochs" | "evaluateEvery">,
  renderer: Renderer.Renderer,
  data: ReadonlyArray<Datum.Datum>,
  heldOut: ReadonlyArray<Datum.Datum> = []
) =>
  Effect.map(dataset(data, config.batchSize), (batches): Plan => {
    const steps = config.epochs * batches.batchesPerEpoch
    return {
      examples: data.length,
      steps,
      usage: { ...nothing, trained: Math.round(lengths(data) / data.length * batches.batchSize * steps) },
      first: show(renderer, data[0]),
      figure: "train_mean_nll",
      train: (run) =>
        Supervised.train(run, {
          data: batches,
          epochs: config.epochs,
          learningRate: config.learningRate,
          heldOut,
          evaluateEvery: config.evaluateEvery,
          tokenizer: renderer.tokenizer,
          checkpoint: checkpoint(config)
        })
    }
  })

export const sft = (config: Sft, at: (file: string) => string): Planned =>
  Effect.gen(function*() {
    const renderer = yield* rendererOf(config)
    const read = (file: string) =>
      Conversation.fromJsonl(at(file)).pipe(
        Conversation.toData(renderer, { train: config.train, maxLength: config.maxLength, reduction: "mean" })
      )
    const data = yield* read(config.data)
    if (data.length === 0) return yield* new Failed({ message: `data: ${config.data} has no examples` })
    return yield* taught(config, renderer, data, config.heldOut === undefined ? [] : yield* read(config.heldOut))
  })

export const dpo = (config: Dpo, at: (file: string) => string): Planned =>
  Effect.gen(function*() {
    const renderer = yield* rendererOf(config)
    const preferences = yield* all(Conversation.pairsFromJsonl(at(config.pairs)), config.pairs)
    const pairs = yield* Effect.forEach(
      preferences,
      (preference) => Preference.toPair(renderer, preference, { maxLength: config.maxLength })
    )
    const batches = yield* dataset(pairs, config.batchSize)
    const steps = config.epochs * batches.batchesPerEpoch
    const tokens = Math.round(
      lengths(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected])) / pairs.length * batches.batchSize * steps
    )
    return {
      examples: pairs.length,
      steps,
      // the reference reads what is trained on
      usage: { ...nothing, trained: tokens, prefillUncached: tokens },
      first: `chosen    ${show(renderer, pairs[0]?.chosen)}\nrejected  ${show(renderer, pairs[0]?.rejected)}`,
      figure: "dpo_loss",
      train: (run) =>
        Preference.dpo(run, {
          pairs: batches,
          epochs: config.epochs,
          beta: config.beta,
          learningRate: config.learningRate,
          checkpoint: checkpoint(config)
        })
    }
  })

/** Files are found from where the configuration is. */
export const from = (config: string) =>
  Effect.map(Path.Path, (path) => (file: string) => path.resolve(config === "-" ? "." : path.dirname(config), file))
