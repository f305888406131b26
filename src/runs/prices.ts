/**
 * USD per million tokens. Read from copies of the service's page "Models & Pricing" of August to October 2026; `train` stands
 * only where a dated copy had it. Cached prefill is a fifth of prefill. Inkling's are half of its list price, for a time that was
 * not given.
 */
import type { PriceTable, Rates } from "./Cost.js"

const rates = (prefill: number, sample: number, train?: number): Partial<Rates> => ({
  prefill,
  cachedPrefill: prefill / 5,
  sample,
  ...(train === undefined ? {} : { train })
})

const nemotron = (size: string) => `nvidia/NVIDIA-Nemotron-${size}-BF16`

export const table: PriceTable = {
  asOf: "2026-10-07",
  source: "https://tinker-docs.thinkingmachines.ai/tinker/models/models_and_pricing/",
  models: {
    "thinkingmachines/Inkling": rates(1.87, 4.68, 5.61),
    "thinkingmachines/Inkling:peft:262144": rates(3.74, 9.36),
    "thinkingmachines/Inkling-Small": rates(0.58, 1.44, 1.73),
    "thinkingmachines/Inkling-Small:peft:262144": rates(1.16, 2.89),
    [nemotron("3-Ultra-550B-A55B")]: rates(2.49, 6.225, 5.478),
    [`${nemotron("3-Ultra-550B-A55B")}:peft:262144`]: rates(3.32, 8.3),
    [nemotron("3-Super-120B-A12B")]: rates(0.57, 1.44, 1.276),
    [`${nemotron("3-Super-120B-A12B")}:peft:262144`]: rates(0.76, 1.92),
    [nemotron("3.5-Lightning-30B-A3B")]: rates(0.195, 0.495),
    [`${nemotron("3.5-Lightning-30B-A3B")}:peft:262144`]: rates(0.26, 0.66),
    "zai-org/GLM-5.3:peft:262144": rates(4.86, 12.15, 14.58),
    "moonshotai/Kimi-K2.6": rates(2.205, 5.49),
    "moonshotai/Kimi-K2.6:peft:131072": rates(5.15, 12.81),
    "Qwen/Qwen3.8-27B": rates(1.86, 5.595, 4.103),
    "Qwen/Qwen3.8-27B:peft:262144": rates(2.48, 7.46, 7.46),
    "Qwen/Qwen3.6-35B-A3B": rates(0.54, 1.335, 1.177),
    "Qwen/Qwen3.6-27B": rates(1.86, 5.595, 4.103),
    "Qwen/Qwen3.5-397B-A17B": rates(3, 7.5, 6.6),
    "Qwen/Qwen3.5-397B-A17B:peft:262144": rates(4, 10),
    "Qwen/Qwen3.5-35B-A3B-Base": rates(0.54, 1.335),
    "Qwen/Qwen3.5-9B": rates(0.66, 1.995, 1.463),
    "Qwen/Qwen3.5-9B-Base": rates(0.66, 1.995),
    "Qwen/Qwen3.5-4B": rates(0.33, 1.005, 0.737),
    "Qwen/Qwen3-8B": rates(0.195, 0.6, 0.44),
    "openai/gpt-oss-120b": rates(0.33, 0.84),
    "openai/gpt-oss-120b:peft:131072": rates(0.78, 1.94),
    "openai/gpt-oss-20b": rates(0.18, 0.45),
    "deepseek-ai/DeepSeek-V3.1": rates(1.695, 4.215)
  }
}
