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
  ["qwen3_vl_instruct", ["Qwen/Qwen3-VL-30B-A3B-Instruct", "Qwen/Qwen3-VL-235B-A22B-Instruct"]],
  ["qwen3_5", ["4B", "9B", "27B", "35B-A3B", "397B-A17B"].map((size) => `Qwen/Qwen3.5-${size}`)],
  // The cookbook takes qwen3_5 for these, which writes booleans and nulls in calls otherwise than their template
  ["qwen3_6", ["Qwen/Qwen3.6-27B", "Qwen/Qwen3.6-35B-A3B"]],
  ["qwen3_8_xhigh_reasoning", ["Qwen/Qwen3.8-27B"]],
  ["deepseekv3", ["deepseek-ai/DeepSeek-V3.1"]],
  ["deepseekv4_1", ["deepseek-ai/DeepSeek-V4.1-Flash", "deepseek-ai/DeepSeek-V4.1-Flash-1017"]],
  ["kimi_k2", ["moonshotai/Kimi-K2-Thinking"]],
  ["kimi_k25", ["moonshotai/Kimi-K2.5"]],
  ["kimi_k26", ["moonshotai/Kimi-K2.6"]],
  ["glm5_3_max_reasoning", ["zai-org/GLM-5.3", "zai-org/GLM-5.3-Flash"]],
  ["nemotron3", ["nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"]],
  ["nemotron3_ultra", [
    "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16",
    "nvidia/NVIDIA-Nemotron-3.5-Lightning-30B-A3B-BF16",
    "nvidia/NVIDIA-Nemotron-3.5-Super-VL-120B-A12B-BF16"
  ]],
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
