/**
 * Formats by name, and the names for models.
 *
 * @internal
 */
import type { Tokenizer } from "../../tokenizer/Tokenizer.js"
import type { Format } from "../format.js"
import { chatml } from "./chatml.js"
import { deepseekV3 } from "./deepseekV3.js"
import { gptOss } from "./gptOss.js"
import { llama3 } from "./llama3.js"
import { qwen3 } from "./qwen3.js"
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
  ["deepseekv3", () => deepseekV3({ name: "deepseekv3", thinking: false })],
  ["deepseekv3_disable_thinking", () => deepseekV3({ name: "deepseekv3_disable_thinking", thinking: false })],
  ["deepseekv3_thinking", () => deepseekV3({ name: "deepseekv3_thinking", thinking: true })],
  ["gpt_oss_no_sysprompt", () => gptOss({ name: "gpt_oss_no_sysprompt" })],
  ...["low", "medium", "high"].map((effort): readonly [string, Make] => {
    const name = `gpt_oss_${effort}_reasoning`
    return [name, ({ date }) => gptOss({ name, effort, date })]
  })
])
