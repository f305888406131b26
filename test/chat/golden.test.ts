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

const dump = process.env["GOLDEN_DUMP"]

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
          const found: Array<string> = []
          for (const { id, messages, tools } of conversations) {
            const golden = goldens.get(name)?.get(id)
            assert.isDefined(golden, `${name} ${id}: make the golden files again`)
            const policies = golden === "refused" ? ["all_assistant_messages"] : Object.keys(golden!.weights)
            const own = ours(renderer, messages, tools, policies)
            const theirs: Golden = golden === "refused"
              ? { prompt: "refused", example: "refused", weights: { all_assistant_messages: "refused" } }
              : golden!
            const show = (what: string, a: unknown, b: unknown) => {
              if (same(a, b)) return
              found.push(`${id} ${what}`)
              if (dump === undefined || (dump !== "1" && !`${name} ${id}`.includes(dump))) return
              const text = (x: unknown) => Array.isArray(x) ? JSON.stringify(tokenizer.decode(x as Array<number>)) : x
              process.stderr.write(
                `${name} ${id} ${what}\n  theirs ${what.startsWith("w") ? JSON.stringify(a) : text(a)}\n  ours   ${
                  what.startsWith("w") ? JSON.stringify(b) : text(b)
                }`
              )
            }
            show("prompt", theirs.prompt, own.prompt)
            show("example", theirs.example, own.example)
            if (same(theirs.example, own.example)) {
              for (const policy of policies) show(`weights ${policy}`, theirs.weights[policy], own.weights[policy])
            }
          }
          assert.deepStrictEqual(found, [])
        }))
    }
  })
}
