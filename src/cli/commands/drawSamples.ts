/**
 * What `tinkex sample` does.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { ServiceClient } from "../../client/ServiceClient.js"
import { attempt } from "../../protocol/InvalidInput.js"
import * as Json from "../../protocol/Json.js"
import * as ModelInput from "../../protocol/ModelInput.js"
import type { Connection } from "../terminal/connect.js"
import { service } from "../terminal/connectService.js"
import { Failed } from "../terminal/failed.js"
import { plainJson } from "../terminal/plain.js"
import { readInput } from "../terminal/readInput.js"
import * as Show from "../terminal/show.js"
import { style, Terminal } from "../terminal/terminal.js"
import { writeWhole } from "../terminal/writeFile.js"

interface Args extends Connection {
  readonly baseModel: Option.Option<string>
  readonly modelPath: Option.Option<string>
  readonly prompt: Option.Option<string>
  readonly promptFile: Option.Option<string>
  readonly maxTokens: number
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly numSamples: number
  readonly seed: Option.Option<number>
  readonly stop: ReadonlyArray<string>
  readonly logprobs: boolean
  readonly output: Option.Option<string>
  readonly json: boolean
  readonly format: "table" | "json"
}

/** The tokens of a JSON list, which have to be some; anything else is text. */
const tokensOf = (text: string) =>
  Effect.flatMap(
    Effect.option(Json.parse(text)),
    (json): Effect.Effect<Int32Array | string, Failed> =>
      Option.isSome(json) && Array.isArray(json.value)
        ? Effect.mapError(
          attempt(() => ModelInput.tokens(ModelInput.fromTokens(json.value as ReadonlyArray<number>))), // checked there
          (error) => new Failed({ message: `--prompt-file: ${error.message}` })
        )
        : Effect.succeed(text)
  )

/** The text or the tokens to go on from. */
const promptOf = (args: Args) =>
  Effect.gen(function*() {
    if (Option.isSome(args.prompt) === Option.isSome(args.promptFile)) {
      return yield* new Failed({ message: "expected exactly one of --prompt and --prompt-file" })
    }
    if (Option.isSome(args.prompt)) return args.prompt.value
    const file = Option.getOrElse(args.promptFile, () => "-")
    return yield* tokensOf(yield* readInput(file, "--prompt-file"))
  })

export const drawSamples = (args: Args) =>
  Effect.gen(function*() {
    const { baseModel, modelPath } = args
    if (Option.isSome(baseModel) === Option.isSome(modelPath)) {
      return yield* new Failed({ message: "expected exactly one of --base-model and --model-path" })
    }
    const prompt = yield* promptOf(args)
    yield* Effect.gen(function*() {
      const terminal = yield* Terminal
      const client = yield* ServiceClient
      const sampler = yield* client.createSamplingClient(
        Option.isSome(modelPath)
          ? { modelPath: modelPath.value }
          : { baseModel: Option.getOrElse(baseModel, () => "") }
      )
      const { decode, encode } = yield* sampler.tokenizer
      const tokens = typeof prompt === "string" ? encode(prompt) : prompt
      yield* terminal.progress("sampling")
      const result = yield* sampler.sample({
        prompt: tokens,
        maxTokens: args.maxTokens,
        temperature: args.temperature,
        topK: args.topK,
        topP: args.topP,
        numSamples: args.numSamples,
        seed: Option.getOrUndefined(args.seed),
        ...(args.stop.length === 0 ? {} : { stop: [...args.stop] }),
        ...(args.logprobs ? { promptLogprobs: true } : {})
      }).pipe(Effect.ensuring(terminal.progress("")))
      const sequences = result.sequences.map((sequence) => ({
        text: decode(sequence.tokens),
        tokens: Array.from(sequence.tokens),
        logprobs: sequence.logprobs === undefined ? null : Array.from(sequence.logprobs),
        stop_reason: sequence.stopReason
      }))
      const text = Show.wantsJson(args)
        ? JSON.stringify(
          {
            model: Option.getOrElse(modelPath, () => Option.getOrNull(baseModel)),
            prompt_tokens: Array.from(tokens),
            ...(args.logprobs
              ? {
                prompt_logprobs: Array.from(result.promptLogprobs ?? [], (value) => Number.isNaN(value) ? null : value)
              }
              : {}),
            sequences
          },
          null,
          2
        )
        : sequences.map((sequence, i) =>
          sequences.length === 1 ? sequence.text : `${style(terminal, 2, `[${i + 1}]`)} ${sequence.text}`
        ).join("\n")
      if (Option.isNone(args.output) || args.output.value === "-") {
        return yield* terminal.print(Show.wantsJson(args) ? plainJson(text) : text)
      }
      const written = yield* writeWhole(args.output.value, Stream.make(new TextEncoder().encode(`${text}\n`)))
      yield* terminal.note(`written to ${written}`)
    }).pipe(Effect.provide(service(args)), Effect.scoped)
  })
