/**
 * Which renderer a model has, as the official cookbook 0.6.1 (2026-11) recommends; the first of several.
 *
 * @internal
 */

const table: ReadonlyArray<readonly [renderer: string, models: ReadonlyArray<string>]> = [
  ["nano", ["tinkex/nano", "tinkex/nano-random"]],
  ["role_colon", [
    "meta-llama/Llama-3.2-1B",
    "meta-llama/Llama-3.2-3B",
    "meta-llama/Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B",
    "Qwen/Qwen3-8B-Base",
    "Qwen/Qwen3-30B-A3B-Base",
    "Qwen/Qwen3.5-9B-Base",
    "Qwen/Qwen3.5-35B-A3B-Base",
    "deepseek-ai/DeepSeek-V3.1-Base"
  ]],
  ["llama3", ["meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"]],
  ["qwen3", [
    "Qwen/Qwen3-0.6B",
    "Qwen/Qwen3-1.7B",
    "Qwen/Qwen3-4B",
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B"
  ]],
  ["qwen3_instruct", [
    "Qwen/Qwen3-4B-Instruct-2507",
    "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "Qwen/Qwen3-235B-A22B-Instruct-2507"
  ]],
  ["deepseekv3", ["deepseek-ai/DeepSeek-V3.1"]],
  ["gpt_oss_no_sysprompt", ["openai/gpt-oss-20b", "openai/gpt-oss-120b"]],
  ["smollm2", [
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "HuggingFaceTB/SmolLM2-360M-Instruct",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct"
  ]],
  ["qwen2_5", ["0.5B", "1.5B", "3B", "7B", "14B", "32B", "72B"].map((size) => `Qwen/Qwen2.5-${size}-Instruct`)]
]

const byModel: ReadonlyMap<string, string> = new Map(
  table.flatMap(([renderer, models]) => models.map((model) => [model, renderer] as const))
)

/** @internal */
export const rendererOf = (model: string): string | undefined => byModel.get(model)
