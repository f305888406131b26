/** Golden files of a family, unpacked; see generate.py. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Message from "../../../src/chat/Message.js"
import * as Tool from "../../../src/chat/Tool.js"
import * as Tokenizer from "../../../src/tokenizer/Tokenizer.js"

const read = (name: string): unknown => JSON.parse(readFileSync(fileURLToPath(new URL(name, import.meta.url)), "utf8"))

const Specs = Schema.Record({
  key: Schema.String,
  value: Schema.Struct({
    renderers: Schema.Array(Schema.String),
    qwen: Schema.Boolean,
    added: Schema.Array(Schema.Tuple(Schema.String, Schema.Boolean)),
    bos: Schema.NullOr(Schema.String),
    eos: Schema.String
  })
})

const Conversations = Schema.Array(Schema.Struct({
  id: Schema.String,
  messages: Schema.Array(Message.FromOpenAi),
  tools: Schema.optional(Schema.Array(Tool.FromOpenAi))
}))

const Refused = Schema.Literal("refused")

const Goldens = Schema.Struct({
  vocabulary: Schema.Array(Schema.Number),
  sequences: Schema.Array(Schema.String),
  weights: Schema.Array(Schema.String),
  cases: Schema.Record({
    key: Schema.String,
    value: Schema.Record({
      key: Schema.String,
      value: Schema.Union(
        Refused,
        Schema.Tuple(
          Schema.Union(Refused, Schema.Number, Schema.Struct({ first: Schema.Number })),
          Schema.Union(Refused, Schema.Number),
          Schema.Record({ key: Schema.String, value: Schema.Union(Refused, Schema.Number) })
        )
      )
    })
  })
})

export const specs = Schema.decodeUnknownSync(Specs)(read("tokenizers.json"))

export const conversations = Schema.decodeUnknownSync(Conversations)(read("conversations.json"))

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
}

// the file is a tokenizer.json of ours
const base = read("tokenizer.json") as { readonly added_tokens: ReadonlyArray<AddedToken> }

/** The trimmed tokenizer of Qwen3, with the control tokens of a family. */
export const tokenizerOf = (family: string): Tokenizer.Tokenizer => {
  const spec = specs[family]!
  const added = spec.added.map(([content, special], index) => ({
    id: 200000 + index,
    content,
    special,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false
  }))
  const json = { ...base, added_tokens: [...spec.qwen ? base.added_tokens : [], ...added] }
  const config = { ...spec.bos === null ? {} : { bos_token: spec.bos }, eos_token: spec.eos }
  return Effect.runSync(
    Tokenizer.fromJson({
      id: `golden/${family}`,
      tokenizerJson: JSON.stringify(json),
      configJson: JSON.stringify(config)
    })
  )
}

export interface Golden {
  readonly prompt: ReadonlyArray<number> | "refused"
  readonly example: ReadonlyArray<number> | "refused"
  readonly weights: Readonly<Record<string, ReadonlyArray<number> | "refused">>
}

/** What the cookbook gave, by renderer and conversation. */
export const goldensOf = (family: string): ReadonlyMap<string, ReadonlyMap<string, Golden | "refused">> => {
  const packed = Schema.decodeUnknownSync(Goldens)(read(`${family}.json`))
  const sequences: Array<ReadonlyArray<number>> = []
  for (const text of packed.sequences) {
    const [, of, start, end, rest = ""] = /^(\d+) (\d+) (\d+):(.*)$/.exec(text) ?? []
    const earlier = sequences[Number(of)] ?? []
    const between = rest === "" ? [] : rest.split(" ").map((index) => packed.vocabulary[Number(index)]!)
    sequences.push([...earlier.slice(0, Number(start)), ...between, ...earlier.slice(earlier.length - Number(end))])
  }
  const weights = packed.weights.map((text) =>
    text.split(" ").flatMap((run) => {
      const [value, count] = run.split("x")
      return Array.from({ length: Number(count) }, () => Number(value))
    })
  )
  return new Map(
    Object.entries(packed.cases).map(([name, cases]) => [
      name,
      new Map(
        Object.entries(cases).map(([id, golden]): [string, Golden | "refused"] => {
          if (golden === "refused") return [id, golden]
          const [prompt, example, weighted] = golden
          const tokens = example === "refused" ? [] : sequences[example]!
          return [id, {
            prompt: prompt === "refused"
              ? prompt
              : typeof prompt === "number"
              ? sequences[prompt]!
              : tokens.slice(0, prompt.first),
            example: example === "refused" ? example : tokens,
            weights: Object.fromEntries(
              Object.entries(weighted).map(([policy, index]) => [policy, index === "refused" ? index : weights[index]!])
            )
          }]
        })
      )
    ])
  )
}
