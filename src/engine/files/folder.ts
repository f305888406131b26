/**
 * A model out of a folder as Hugging Face libraries save one.
 */
import { expectedTensors } from "./architecture.js"
import { architectureOfConfig } from "./hfConfig.js"
import { isObject, type JsonObject, parseObject } from "./json.js"
import type { Opened } from "./ModelFiles.js"
import { join, openFile, readText } from "./nodeFiles.js"
import { fail, show } from "./problem.js"
import { readSafetensors } from "./safetensors.js"
import type { SourceWeights, StoredTensor } from "./tensorFile.js"
import { tokenBytesOf } from "./vocabulary.js"

const required = (folder: string, name: string): string =>
  readText(join(folder, name)) ?? fail("Unreadable", `it has no ${name}`)

/** The names of the weight files: one, or those that the index of a sharded model lists. */
const weightFiles = (folder: string): ReadonlyArray<string> => {
  const index = readText(join(folder, "model.safetensors.index.json"))
  if (index === undefined) return ["model.safetensors"]
  const map = parseObject(index, "model.safetensors.index.json")["weight_map"]
  if (!isObject(map)) return fail("Malformed", "model.safetensors.index.json has no weight_map")
  const names = [...new Set(Object.values(map))]
  return names.map((name) =>
    typeof name === "string" && /^[A-Za-z0-9][\w.-]*\.safetensors$/.test(name)
      ? name
      : fail("Malformed", `model.safetensors.index.json names the file ${show(String(name))}`)
  )
}

const endTokens = (folder: string, config: JsonObject, vocabSize: number): ReadonlyArray<number> => {
  const generation = readText(join(folder, "generation_config.json"))
  const said = generation === undefined ? undefined : parseObject(generation, "generation_config.json")["eos_token_id"]
  const ids = said ?? config["eos_token_id"]
  return (Array.isArray(ids) ? ids : [ids]).filter((id): id is number =>
    typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabSize
  )
}

/** The settings of the tokenizer, with the chat template that newer libraries save beside them. */
const tokenizerConfig = (folder: string): string => {
  const config = parseObject(readText(join(folder, "tokenizer_config.json")) ?? "{}", "tokenizer_config.json")
  const template = readText(join(folder, "chat_template.jinja"))
  return JSON.stringify(template === undefined ? config : { ...config, chat_template: template })
}

export const readFolder = (folder: string): Opened => {
  const config = parseObject(required(folder, "config.json"), "config.json")
  const architecture = architectureOfConfig(config)
  const { vocabSize } = architecture.shape
  const wanted = new Set(expectedTensors(architecture).map(({ name }) => name))
  const tensors = new Map<string, StoredTensor>()
  const files: Array<SourceWeights["files"][number]> = []
  for (const name of weightFiles(folder)) {
    const path = join(folder, name)
    const source = openFile(path)
    try {
      files.push({ path, size: source.size, modified: source.modified })
      for (const [tensor, stored] of readSafetensors(path, source, (name) => wanted.has(name)).tensors) {
        if (tensors.has(tensor)) fail("Malformed", `the tensor ${show(tensor)} is in two files`)
        tensors.set(tensor, stored)
      }
    } finally {
      source.close()
    }
  }
  const tokenizerJson = required(folder, "tokenizer.json")
  return {
    architecture,
    tensor: ({ name }) => tensors.get(name),
    paired: false,
    files,
    eosTokens: endTokens(folder, config, vocabSize),
    tokenizer: { tokenizerJson, configJson: tokenizerConfig(folder) },
    tokenBytes: tokenBytesOf(parseObject(tokenizerJson, "tokenizer.json"), vocabSize)
  }
}
