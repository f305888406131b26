/**
 * `tinkex checkpoint`: what training has saved.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { connection, output, page } from "../terminal/options.js"

// Loaded only when one of them runs: clients and HTTP would slow down every other command
const actions = Effect.promise(() => import("./checkpoints.js"))

const path = Args.text({ name: "path" }).pipe(
  Args.withDescription("tinker://<training run>/<weights | sampler_weights>/<name>")
)

const list = Command.make("list", {
  runId: Options.text("run-id").pipe(Options.optional, Options.withDescription("Only those of this training run")),
  ...page,
  ...output,
  ...connection
}, (args) => Effect.flatMap(actions, ({ list }) => list(args))).pipe(
  Command.withDescription("List checkpoints, newest first")
)

const info = Command.make(
  "info",
  { ...output, ...connection, path },
  (args) => Effect.flatMap(actions, ({ info }) => info(args))
).pipe(Command.withDescription("Show a checkpoint"))

const publish = Command.make(
  "publish",
  { ...output, ...connection, path },
  (args) => Effect.flatMap(actions, ({ setPublic }) => setPublic(args, true))
).pipe(Command.withDescription("Let everybody read a checkpoint"))

const unpublish = Command.make(
  "unpublish",
  { ...output, ...connection, path },
  (args) => Effect.flatMap(actions, ({ setPublic }) => setPublic(args, false))
).pipe(Command.withDescription("Make a published checkpoint private again"))

const remove = Command.make("delete", {
  runId: Options.text("run-id").pipe(
    Options.optional,
    Options.withDescription("Those of this training run, not paths")
  ),
  type: Options.choice("type", ["weights", "sampler_weights", "training", "sampler"]).pipe(
    Options.optional,
    Options.withDescription("With --run-id: only those of this kind")
  ),
  before: Options.date("before").pipe(
    Options.optional,
    Options.withDescription("With --run-id: only those made before this time")
  ),
  after: Options.date("after").pipe(
    Options.optional,
    Options.withDescription("With --run-id: only those made after this time")
  ),
  yes: Options.boolean("yes").pipe(Options.withAlias("y"), Options.withDescription("Do not ask")),
  ...output,
  ...connection,
  paths: Args.repeated(path)
}, (args) => Effect.flatMap(actions, ({ remove }) => remove(args))).pipe(
  Command.withDescription("Delete checkpoints, after asking; they cannot be brought back")
)

const setTtl = Command.make("set-ttl", {
  ttl: Options.integer("ttl").pipe(Options.optional, Options.withDescription("Seconds from now until it expires")),
  remove: Options.boolean("remove").pipe(Options.withDescription("Let it never expire")),
  ...output,
  ...connection,
  path
}, (args) => Effect.flatMap(actions, ({ setTtl }) => setTtl(args))).pipe(
  Command.withDescription("Set when a checkpoint expires, or that it does not")
)

const download = Command.make("download", {
  output: Options.text("output").pipe(
    Options.withAlias("o"),
    Options.withDefault("."),
    Options.withDescription("The directory in which the checkpoint gets a folder of its own")
  ),
  force: Options.boolean("force").pipe(
    Options.withDescription("Replace an earlier download, once the new one is complete")
  ),
  ...output,
  ...connection,
  path
}, (args) => Effect.flatMap(actions, ({ download }) => download(args))).pipe(
  Command.withDescription("Download a checkpoint and unpack it")
)

const save = Command.make(
  "save",
  {
    baseModel: Options.text("base-model").pipe(
      Options.optional,
      Options.withDescription("Start a new run on this model")
    ),
    from: Options.text("from").pipe(
      Options.optional,
      Options.withDescription("Start a new run from this checkpoint, with its optimiser where it has one")
    ),
    name: Options.text("name").pipe(Options.withDescription("Name of the new checkpoint")),
    sampler: Options.boolean("sampler").pipe(Options.withDescription("Save for sampling instead of for training")),
    rank: Options.integer("rank").pipe(Options.withDefault(32), Options.withDescription("Rank of the LoRA adapters")),
    seed: Options.integer("seed").pipe(Options.optional, Options.withDescription("Seed of the adapters")),
    noMlp: Options.boolean("no-mlp").pipe(Options.withDescription("No adapters on the MLP layers")),
    noAttn: Options.boolean("no-attn").pipe(Options.withDescription("No adapters on the attention layers")),
    noUnembed: Options.boolean("no-unembed").pipe(Options.withDescription("No adapter on the unembedding")),
    ttl: Options.integer("ttl").pipe(Options.optional, Options.withDescription("Seconds until it expires")),
    ...output,
    ...connection
  },
  (args) =>
    Effect.flatMap(
      Effect.promise(() => import("./saveCheckpoint.js")),
      ({ saveCheckpoint }) => saveCheckpoint(args)
    )
).pipe(
  Command.withDescription("Make a training run and save its state")
)

/**
 * @since 0.1.0
 * @category commands
 */
export const command = Command.make("checkpoint").pipe(
  Command.withDescription("Look after checkpoints"),
  Command.withSubcommands([list, info, publish, unpublish, remove, setTtl, download, save])
)
