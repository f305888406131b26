/**
 * Token by token what the official cookbook's renderers give, for every name over all golden conversations; where ours differ,
 * it is in the list, with the reason.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Message from "../../src/chat/Message.js"
import * as Renderer from "../../src/chat/Renderer.js"
import type { ToolSpec } from "../../src/chat/Tool.js"
import type { TrainOn } from "../../src/chat/TrainOn.js"
import type { Segment } from "../../src/protocol/Datum.js"
import { InvalidInput } from "../../src/protocol/InvalidInput.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import { conversations, type Golden, goldensOf, specs, tokenizerOf } from "./golden/family.js"

const orRefused = <A>(make: () => A): A | "refused" => {
  try {
    return make()
  } catch (cause) {
    assert.instanceOf(cause, InvalidInput)
    return "refused"
  }
}

const flatten = (segments: ReadonlyArray<Segment>) => {
  const tokens: Array<number> = []
  const weights: Array<number> = []
  for (const segment of segments) {
    if ("chunk" in segment) continue
    for (const token of segment.tokens) {
      tokens.push(token)
      weights.push(Number(segment.weight))
    }
  }
  return { tokens, weights }
}

const ours = (
  renderer: Renderer.Renderer,
  messages: ReadonlyArray<Message.Message>,
  tools: ReadonlyArray<ToolSpec> | undefined,
  policies: ReadonlyArray<string>
): Golden => {
  const prompted = messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages
  const prompt = orRefused(() => Array.from(ModelInput.tokens(renderer.prompt(prompted, { tools }))))
  const made = policies.map((train) =>
    // the names in the golden files are those of the policies
    [train, orRefused(() => flatten(renderer.example(messages, { tools, train: train as TrainOn })))] as const
  )
  const example = made.map(([, one]) => one === "refused" ? one : one.tokens).find((tokens) => tokens !== "refused") ??
    "refused"
  return {
    prompt,
    example,
    weights: Object.fromEntries(made.map(([train, one]) => [train, one === "refused" ? one : one.weights]))
  }
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/** Where ours differs in tokens: which renderers and conversations, and why. */
const differences: ReadonlyArray<{
  readonly renderers: RegExp
  readonly conversations: ReadonlyArray<string>
  readonly reason: string
}> = [
  {
    renderers: /^role_colon$/,
    conversations: ["user_only", "system_user", "ends_with_user"],
    reason: "an example that ends with the user ends with a placeholder there, <UNUSED>"
  },
  {
    renderers: /^(role_colon|llama3)$/,
    conversations: ["several_parts"],
    reason: "a message of several texts is refused there; here they are one"
  },
  {
    renderers: /^(role_colon|llama3)$/,
    conversations: [
      "tools_call_last",
      "tools_text_call_last",
      "tools_types",
      "tools_unicode",
      "tools_follow_up",
      "tools_without_ids"
    ],
    reason: "calls of tools are left out there without a word; here they are refused"
  },
  {
    renderers: /^qwen3(_disable_thinking)?$/,
    conversations: ["thinking_inline_history", "tools_thinking"],
    reason:
      "the template takes reasoning in a plain string out of the history too, and keeps it in calls after the last user message"
  },
  {
    renderers: /^qwen3(_disable_thinking|_instruct)?$/,
    conversations: ["tools_parallel", "tools_out_of_order"],
    reason: "in the template answers of tools in a row share one message of the user"
  },
  {
    renderers: /^qwen3(_disable_thinking|_instruct|_vl|_vl_instruct)?$/,
    conversations: ["tools_unicode"],
    reason: "templates write characters in JSON as they are, the cookbook as \\u escapes"
  },
  {
    renderers: /^qwen3_5(_disable_thinking)?$/,
    conversations: ["tools_thinking"],
    reason: "the template keeps reasoning in calls after the last user message"
  },
  {
    renderers: /^deepseekv3(_disable_thinking|_thinking)?$/,
    conversations: [
      "empty_answer",
      "tools",
      "tools_call_last",
      "tools_out_of_order",
      "tools_types",
      "tools_no_arguments",
      "tools_unicode",
      "tools_follow_up",
      "tools_without_ids"
    ],
    reason: "a message without text ends too; there it has no end, and none would be learnt"
  },
  {
    renderers: /^deepseekv3(_disable_thinking)?$/,
    conversations: ["thinking_only", "tools_thinking"],
    reason: "the same, for a message whose reasoning is left out"
  },
  {
    renderers: /^gpt_oss_(low|medium|high)_reasoning$/,
    conversations: ["customized"],
    reason: "the format's own system message has no trainable and is refused there"
  },
  {
    renderers: /^nemotron3_low_thinking$/,
    conversations: ["parts"],
    reason: "a text as a part is refused there"
  }
]

/** Runs of tokens that weigh 1 there and 0 here; undefined when anything else differs. */
const withheld = (theirs: ReadonlyArray<number>, own: ReadonlyArray<number>) => {
  const runs: Array<readonly [start: number, end: number]> = []
  for (let at = 0; at < theirs.length; at++) {
    if (theirs[at] === own[at]) continue
    if (theirs[at] !== 1 || own[at] !== 0) return undefined
    const start = at
    while (at < theirs.length && theirs[at] === 1 && own[at] === 0) at++
    runs.push([start, at])
  }
  return runs
}

/** Whether the run is what the prompt of some assistant message ends with, behind at least two tokens of its header. */
const isPrompted = (
  tokens: ReadonlyArray<number>,
  [start, end]: readonly [start: number, end: number],
  prompts: ReadonlyArray<ReadonlyArray<number>>
) => {
  const given = tokens.slice(start - 2, end)
  return prompts.some((prompt) => same(prompt.slice(-given.length), given))
}

for (const [family, spec] of Object.entries(specs)) {
  describe(family, () => {
    const tokenizer = tokenizerOf(family)
    const goldens = goldensOf(family)
    for (const name of spec.renderers) {
      it.effect(name, () =>
        Effect.gen(function*() {
          // as the cookbook: Qwen3's own takes names of control tokens in messages for text, the others for the tokens
          const literal = /^qwen3(_disable_thinking|_instruct)?$/.test(name)
          const renderer = yield* Renderer.make(name, tokenizer, { allowControlTokens: !literal, date: "2026-11-30" })
          const differing = new Set<string>()
          for (const { id, messages, tools } of conversations) {
            const golden = goldens.get(name)?.get(id)
            assert.isDefined(golden, `${name} ${id}: make the golden files again`)
            const theirs: Golden = golden === "refused"
              ? { prompt: "refused", example: "refused", weights: { all_assistant_messages: "refused" } }
              : golden!
            const own = ours(renderer, messages, tools, Object.keys(theirs.weights))
            if (!same(theirs.prompt, own.prompt) || !same(theirs.example, own.example)) {
              differing.add(id)
              continue
            }
            // What a prompt ends with is never learnt here; there, it is in all but the last message of an example
            const prompts = () =>
              messages.flatMap(({ role }, at) =>
                role === "assistant"
                  ? [Array.from(ModelInput.tokens(renderer.prompt(messages.slice(0, at), { tools })))]
                  : []
              )
            for (const [policy, weights] of Object.entries(theirs.weights)) {
              const mine = own.weights[policy]!
              if (same(weights, mine)) continue
              const where = `${name} ${id} ${policy}`
              assert.isTrue(weights !== "refused" && mine !== "refused", where)
              assert.notStrictEqual(policy, "all_tokens", where)
              const runs = withheld(weights as ReadonlyArray<number>, mine as ReadonlyArray<number>)
              assert.isDefined(runs, where)
              for (const run of runs!) {
                assert.isTrue(isPrompted(own.example as ReadonlyArray<number>, run, prompts()), where)
              }
            }
          }
          const listed = new Set(
            differences.filter(({ renderers }) => renderers.test(name)).flatMap(({ conversations }) => conversations)
          )
          assert.deepStrictEqual(Array.from(differing).toSorted(), Array.from(listed).toSorted())
        }))
    }
  })
}
