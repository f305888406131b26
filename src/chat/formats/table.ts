/**
 * Formats by name, and the names for models.
 *
 * @internal
 */
import type { Tokenizer } from "../../tokenizer/Tokenizer.js"
import type { Format } from "../format.js"
import { chatml } from "./chatml.js"
import { deepseekV3 } from "./deepseekV3.js"
import { deepseekV4 } from "./deepseekV4.js"
import { glm53 } from "./glm5_3.js"
import { gptOss } from "./gptOss.js"
import { kimi } from "./kimi.js"
import { llama3 } from "./llama3.js"
import { nemotron3, type Nemotron3Options } from "./nemotron3.js"
import { qwen3 } from "./qwen3.js"
import { qwen35, type Qwen35Options, qwen38 } from "./qwen3_5.js"
import { qwen3Vl } from "./qwen3Vl.js"
import { roleColon } from "./roleColon.js"

/** What a format may depend on. @internal */
export interface FormatOptions {
  readonly tokenizer: Tokenizer
  /** The date that gpt-oss is told, as 2026-11-30. */
  readonly date?: string | undefined
}

type Make = (options: FormatOptions) => Format

const bosOf = ({ bosToken, decode }: Tokenizer): string | undefined =>
  bosToken === undefined ? undefined : decode([bosToken])

const named = <O>(
  make: (options: O & { readonly name: string }) => Format,
  name: string,
  options: O
): readonly [string, Make] => [
  name,
  () => make({ ...options, name })
]

const qwen35s = (name: string, options: Omit<Qwen35Options, "name">) => [
  named(qwen35, name, options),
  named(qwen35, `${name}_disable_thinking`, { ...options, disabled: true }),
  named(qwen35, `${name}_preserve_thinking`, { ...options, preserve: true })
]

const nemotrons = (name: string, options: Omit<Nemotron3Options, "name">) => [
  named(nemotron3, name, options),
  named(nemotron3, `${name}_disable_thinking`, { ...options, disabled: true }),
  named(nemotron3, `${name}_preserve_thinking`, { ...options, preserve: true })
]

const kimis = (name: string) => [
  named(kimi, name, { prefill: "<think>" as const, types: "typescript" as const }),
  named(kimi, `${name}_disable_thinking`, { prefill: "<think></think>" as const, types: "typescript" as const })
]

/** @internal */
export const formats: ReadonlyMap<string, Make> = new Map<string, Make>([
  ["role_colon", ({ tokenizer }) => roleColon(bosOf(tokenizer))],
  ["chatml", () => chatml()],
  ["nano", () => chatml({ name: "nano" })],
  [
    "qwen2_5",
    () => chatml({ name: "qwen2_5", system: "You are Qwen, created by Alibaba Cloud. You are a helpful assistant." })
  ],
  [
    "smollm2",
    () =>
      chatml({
        name: "smollm2",
        system: "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
        tools: false
      })
  ],
  ["llama3", () => llama3],
  ["qwen3", () => qwen3({ name: "qwen3", thinking: "framed" })],
  ["qwen3_disable_thinking", () => qwen3({ name: "qwen3_disable_thinking", thinking: "disabled" })],
  ["qwen3_instruct", () => qwen3({ name: "qwen3_instruct", thinking: "none" })],
  ["qwen3_vl", () => qwen3Vl("qwen3_vl")],
  ["qwen3_vl_instruct", () => qwen3Vl("qwen3_vl_instruct")],
  ...qwen35s("qwen3_5", {}),
  ...qwen35s("qwen3_6", { value: "json" }),
  ...(["xhigh", "medium", "low"] as const).map((effort) => named(qwen38, `qwen3_8_${effort}_reasoning`, { effort })),
  named(qwen38, "qwen3_8_disable_thinking", { effort: "none" as const }),
  ["deepseekv3", () => deepseekV3({ name: "deepseekv3", thinking: false })],
  ["deepseekv3_disable_thinking", () => deepseekV3({ name: "deepseekv3_disable_thinking", thinking: false })],
  ["deepseekv3_thinking", () => deepseekV3({ name: "deepseekv3_thinking", thinking: true })],
  named(deepseekV4, "deepseekv4_1", { effort: 75 }),
  named(deepseekV4, "deepseekv4_1_low_reasoning", { effort: 50 }),
  named(deepseekV4, "deepseekv4_1_max_reasoning", { effort: 100 }),
  named(deepseekV4, "deepseekv4_1_disable_thinking", {}),
  named(deepseekV4, "deepseekv4_1_preserve_thinking", { effort: 75, preserve: true }),
  named(kimi, "kimi_k2", { types: "json" as const }),
  ...kimis("kimi_k25"),
  ...kimis("kimi_k26"),
  named(kimi, "kimi_k26_preserve_thinking", {
    prefill: "<think>" as const,
    preserve: true,
    types: "typescript" as const
  }),
  named(glm53, "glm5_3_max_reasoning", { effort: "Max" as const }),
  named(glm53, "glm5_3_high_reasoning", { effort: "High" as const }),
  named(glm53, "glm5_3_low_reasoning", { effort: "Low" as const }),
  ...nemotrons("nemotron3", {}),
  named(nemotron3, "nemotron3_low_thinking", { effort: "low" }),
  ...nemotrons("nemotron3_ultra", { ultra: true }),
  named(nemotron3, "nemotron3_ultra_medium_thinking", { ultra: true, effort: "efficient" }),
  ["gpt_oss_no_sysprompt", () => gptOss({ name: "gpt_oss_no_sysprompt" })],
  ...["low", "medium", "high"].map((effort): readonly [string, Make] => {
    const name = `gpt_oss_${effort}_reasoning`
    return [name, ({ date }) => gptOss({ name, effort, date })]
  })
])
