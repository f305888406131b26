/**
 * Commands about the service and the account: `capabilities`, `model`, `auth`, `billing`.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { connection, output } from "../terminal/options.js"

// Loaded only when one of them runs: clients and HTTP would slow down every other command
const actions = Effect.promise(() => import("./account.js"))

/**
 * @since 0.1.0
 * @category commands
 */
export const capabilities = Command.make(
  "capabilities",
  { ...output, ...connection },
  (args) => Effect.flatMap(actions, ({ models }) => models({ ...args, substring: Option.none() }))
).pipe(Command.withDescription("Show what the service can train and sample"))

/**
 * @since 0.1.0
 * @category commands
 */
export const model = Command.make("model").pipe(
  Command.withDescription("Look at models"),
  Command.withSubcommands([
    Command.make("list", {
      ...output,
      ...connection,
      substring: Args.text({ name: "substring" }).pipe(
        Args.optional,
        Args.withDescription("Only models with this in their name")
      )
    }, (args) => Effect.flatMap(actions, ({ models }) => models(args))).pipe(
      Command.withDescription("List the models that can be used")
    ),
    Command.make("pull", {
      file: Options.text("file").pipe(
        Options.optional,
        Options.withDescription("A file of the repository, where it holds several GGUF files")
      ),
      revision: Options.text("revision").pipe(
        Options.withDefault("main"),
        Options.withDescription("A branch, a tag or a commit")
      ),
      ...output,
      repository: Args.text({ name: "repository" }).pipe(
        Args.withDescription("A repository of the Hugging Face hub, as Qwen/Qwen3-0.6B")
      )
    }, (args) => Effect.flatMap(Effect.promise(() => import("./pull.js")), ({ pull }) => pull(args))).pipe(
      Command.withDescription("Fetch a model for tinkex serve --model; HF_TOKEN, HF_ENDPOINT and HF_HOME are honoured")
    )
  ])
)

/**
 * @since 0.1.0
 * @category commands
 */
export const auth = Command.make("auth").pipe(
  Command.withDescription("Check the key"),
  Command.withSubcommands([
    Command.make(
      "status",
      { ...output, ...connection },
      (args) => Effect.flatMap(actions, ({ status }) => status(args))
    ).pipe(
      Command.withDescription("Tell whether there is a key and the service accepts it")
    ),
    Command.make(
      "whoami",
      { ...output, ...connection },
      (args) => Effect.flatMap(actions, ({ whoami }) => whoami(args))
    ).pipe(
      Command.withDescription("Show whose key it is")
    ),
    Command.make(
      "login",
      {
        apiKeyFile: Options.text("api-key-file").pipe(
          Options.withDefault("-"),
          Options.withDescription(
            "A file with the key; - for standard input, which is where it is read from unless given"
          )
        )
      },
      (args) => Effect.flatMap(Effect.promise(() => import("./login.js")), ({ login }) => login(args))
    ).pipe(
      Command.withDescription("Keep a key of Tinker on this machine: tinkex auth login < key.txt")
    ),
    Command.make(
      "logout",
      {},
      () => Effect.flatMap(Effect.promise(() => import("./login.js")), ({ logout }) => logout)
    ).pipe(
      Command.withDescription("Forget the keys that are kept on this machine")
    )
  ])
)

/**
 * @since 0.1.0
 * @category commands
 */
export const billing = Command.make("billing").pipe(
  Command.withDescription("Look at usage"),
  Command.withSubcommands([
    Command.make("usage", {
      ...output,
      ...connection,
      startingOn: Args.date({ name: "starting-on" }),
      endingBefore: Args.date({ name: "ending-before" })
    }, (args) => Effect.flatMap(actions, ({ usage }) => usage(args))).pipe(
      Command.withDescription("Show what was used, hour by hour; times of UTC, at most 14 days apart")
    ),
    Command.make("checkpoint-storage", {
      projectId: Options.text("project-id").pipe(
        Options.optional,
        Options.withDescription("Only that of this project")
      ),
      ...output,
      ...connection
    }, (args) => Effect.flatMap(actions, ({ storage }) => storage(args))).pipe(
      Command.withDescription("Show what checkpoints take up")
    )
  ])
)
