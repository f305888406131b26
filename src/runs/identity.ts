/** Settings of a run, as they are kept and held against what was kept. */
import type { Json } from "./Journal.js"
import type { Config } from "./Run.js"
import type { Difference } from "./RunError.js"

const isRecord = (value: Json | undefined): value is { readonly [key: string]: Json | undefined } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const show = (value: Json | undefined): string => {
  const text = value === undefined ? "nothing" : JSON.stringify(value)
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`
}

/** Where two values differ, leaf by leaf, by dotted path. What is `undefined` or `null` on one side is not there. */
export const differences = (before: Json | undefined, now: Json | undefined, path = ""): ReadonlyArray<Difference> => {
  const left = before ?? undefined
  const right = now ?? undefined
  if (isRecord(left) && isRecord(right)) {
    const keys = [...new Set([...Object.keys(left), ...Object.keys(right)])].sort()
    return keys.flatMap((key) => differences(left[key], right[key], path === "" ? key : `${path}.${key}`))
  }
  return JSON.stringify(left) === JSON.stringify(right) ? [] : [{ setting: path, before: show(left), now: show(right) }]
}

/** Without those that are accepted, by their own path or that of what they are part of. */
export const unaccepted = (
  all: ReadonlyArray<Difference>,
  accept: ReadonlyArray<string> | undefined
): ReadonlyArray<Difference> =>
  all.filter(({ setting }) => !(accept ?? []).some((path) => setting === path || setting.startsWith(`${path}.`)))

/** A configuration under the names that the cookbook's tools look for. */
export const configFile = (
  config: Config,
  seed: number,
  directory: string
): { readonly [key: string]: Json | undefined } => {
  const { baseModel, loadCheckpoint, rank, renderer, seed: _seed, trainAttn, trainMlp, trainUnembed, ...rest } = config
  return {
    log_path: directory,
    model_name: baseModel,
    lora_rank: rank ?? 32,
    load_checkpoint_path: loadCheckpoint ?? null,
    renderer_name: renderer ?? null,
    train_attn: trainAttn ?? true,
    train_mlp: trainMlp ?? true,
    train_unembed: trainUnembed ?? true,
    seed,
    ...rest
  }
}
