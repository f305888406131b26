/**
 * Settings that are known to work: learning rates by model.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/**
 * Nobody has measured what rate suits a model.
 *
 * @since 0.2.0
 * @category errors
 */
export class NotCalibrated extends Data.TaggedError("NotCalibrated")<{ readonly model: string }> {
  override get message(): string {
    return `no learning rate is recommended for ${this.model}: only Llama and Qwen models are calibrated. ` +
      `Say one, and try a few around 1e-4 · 2000 / (width of the model)`
  }
}

/** How the best rate falls with the width of a model, by family. */
const exponents: ReadonlyArray<readonly [family: RegExp, exponent: number]> = [
  [/llama/i, 0.781],
  [/qwen/i, 0.0775]
]

/** Widths of the models that Tinker trains. */
const widths: Readonly<Record<string, number>> = {
  "meta-llama/Llama-3.2-1B": 2048,
  "meta-llama/Llama-3.2-3B": 3072,
  "meta-llama/Llama-3.1-8B": 4096,
  "meta-llama/Llama-3.1-8B-Instruct": 4096,
  "meta-llama/Llama-3.1-70B": 8192,
  "meta-llama/Llama-3.3-70B-Instruct": 8192,
  "Qwen/Qwen3-4B-Instruct-2507": 2560,
  "Qwen/Qwen3-8B": 4096,
  "Qwen/Qwen3-8B-Base": 4096,
  "Qwen/Qwen3-32B": 5120,
  "Qwen/Qwen3-30B-A3B": 2048,
  "Qwen/Qwen3-30B-A3B-Base": 2048,
  "Qwen/Qwen3-30B-A3B-Instruct-2507": 2048,
  "Qwen/Qwen3-235B-A22B-Instruct-2507": 4096
}

/**
 * The learning rate that the official cookbook recommends for a model: `5e-5 · (10 for LoRA) · (2000 / width)^e`, with an
 * exponent for each family. `width` is the model's hidden size, for models that the table does not have. The built-in models
 * learn well at 2e-3.
 *
 * @since 0.2.0
 * @category getters
 */
export const learningRate = (
  model: string,
  options: { readonly width?: number | undefined; readonly lora?: boolean | undefined } = {}
): Effect.Effect<number, NotCalibrated> =>
  Effect.suspend(() => {
    const name = model.split(":")[0] ?? model
    if (name.startsWith("tinkex/")) return Effect.succeed(2e-3)
    const width = options.width ?? widths[name]
    const exponent = exponents.find(([family]) => family.test(name))?.[1]
    return width === undefined || exponent === undefined
      ? new NotCalibrated({ model: name })
      : Effect.succeed(5e-5 * (options.lora === false ? 1 : 10) * (2000 / width) ** exponent)
  })
