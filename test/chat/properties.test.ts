/** Laws that hold for every renderer: what is written is read back, streams are read as wholes, prompts are never learnt. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as Message from "../../src/chat/Message.js"
import * as Renderer from "../../src/chat/Renderer.js"
import type { Segment } from "../../src/protocol/Datum.js"
import * as ModelInput from "../../src/protocol/ModelInput.js"
import type { Tokenizer } from "../../src/tokenizer/Tokenizer.js"
import { sized } from "../support/deep.js"
import { specs, tokenizerOf } from "./golden/family.js"

const numRuns = sized(150)

/** What the formats frame or trim is not for a law of reading back: no blanks around, no marks of theirs inside. */
const words = fc.stringMatching(
  /^[A-Za-z0-9äöü你好🙂.,!?"'{}<\\/-]+( [A-Za-z0-9äöü🙂.,!?"'{}<\\/-]+){0,5}(\n[a-z]+){0,2}$/u
)
const text = words.filter((one) => !/<\/?(think|tool|arg|function|parameter)|User:/.test(one))

const argument = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }),
  fc.boolean(),
  fc.constant(null),
  text.filter((one) =>
    Number.isNaN(Number(one)) && !/^(true|false|null|["{[].*|NaN|-?Infinity)$/s.test(one) && one.trim() === one
  ),
  fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 3 })
)
const name = fc.constantFrom("get_weather", "search-web.v2", "now")

/** As Python writes it, which is how calls come back. */
const python = (value: unknown): string =>
  value === null || typeof value !== "object"
    ? JSON.stringify(value)
    : Array.isArray(value)
    ? `[${value.map(python).join(", ")}]`
    : `{${Object.entries(value).map(([key, field]) => `${JSON.stringify(key)}: ${python(field)}`).join(", ")}}`

const call = fc.record({
  name,
  arguments: fc.dictionary(fc.constantFrom("city", "days", "q"), argument, { maxKeys: 3 })
})
  .map((one): Message.ToolCall => ({ name: one.name, arguments: python(one.arguments) }))

interface Traits {
  readonly thinks: boolean
  /** How many the model writes in one go: gpt-oss stops at the first. */
  readonly calls: number
  readonly ids: boolean
}

const traitsOf = (name: string): Traits => ({
  thinks: !/^(role_colon|llama3|chatml|qwen2_5)$|disable_thinking|^deepseekv3$/.test(name),
  calls: /^(role_colon|llama3)$/.test(name) ? 0 : name.startsWith("gpt_oss") ? 1 : 2,
  ids: name.startsWith("kimi")
})

/** A message as it comes back: reasoning, then text, then calls. */
const answer = ({ calls, ids, thinks }: Traits): fc.Arbitrary<Message.Message> =>
  fc.record({
    thinking: thinks ? fc.option(text, { nil: undefined }) : fc.constant(undefined),
    text: fc.option(text, { nil: "" }),
    calls: fc.array(call, { maxLength: calls })
  }).map(({ calls, text, thinking }) => {
    const content: Message.Content = thinking === undefined
      ? text
      : [{ type: "thinking", thinking }, ...(text === "" ? [] : [{ type: "text" as const, text }])]
    return Message.assistant(
      content,
      calls.length === 0
        ? undefined
        : calls.map((one, index) => ids ? { id: `functions.${one.name}:${index}`, ...one } : one)
    )
  })

const tokensOf = (segments: ReadonlyArray<Segment>) =>
  segments.flatMap((segment) => "tokens" in segment ? Array.from(segment.tokens) : [])

const weightsOf = (segments: ReadonlyArray<Segment>) =>
  segments.flatMap((segment) => "tokens" in segment ? Array.from(segment.tokens, () => Number(segment.weight)) : [])

/** Turns of a conversation, with the answers of the tools that were called. */
const conversationOf = (turns: ReadonlyArray<readonly [string, Message.Message]>): ReadonlyArray<Message.Message> =>
  turns.flatMap(([question, message]) => [
    Message.user(question),
    message,
    ...(message.toolCalls ?? []).map((call) => Message.toolResult(call, "done"))
  ])

/** The prompt for the user's next message. */
const history = (renderer: Renderer.Renderer, messages: ReadonlyArray<Message.Message>) =>
  Array.from(ModelInput.tokens(renderer.prompt(messages, { role: "user" })))

/** How many tokens two lists begin with alike. */
const common = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) => {
  let length = 0
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++
  return length
}

const renderers = Object.entries(specs).flatMap(([family, spec]) =>
  [
    ...spec.renderers,
    ...(family === "qwen3" ? ["chatml", "qwen2_5"] : []),
    ...(family === "qwen3_5" ? ["qwen3_6"] : [])
  ].map((name) => ({
    family,
    name
  }))
)

const tokenizers = new Map<string, Tokenizer>()
const tokenizer = (family: string): Tokenizer => {
  const known = tokenizers.get(family) ?? tokenizerOf(family)
  tokenizers.set(family, known)
  return known
}

/** Whether the model has to write the message behind its prompt: what has a prompt of its own cannot be read back without. */
const output = (renderer: Renderer.Renderer, messages: ReadonlyArray<Message.Message>) => {
  const prompt = Array.from(ModelInput.tokens(renderer.prompt(messages.slice(0, -1))))
  const segments = renderer.example(messages, { train: "last_assistant_message" })
  const all = tokensOf(segments)
  const goesOn = JSON.stringify(all.slice(0, prompt.length)) === JSON.stringify(prompt)
  return { goesOn, all, prompt, segments }
}

const cutAt = (tokens: ReadonlyArray<number>, cuts: ReadonlyArray<number>) => {
  const bounds = [0, ...cuts.map((cut) => cut % (tokens.length + 1)).toSorted((a, b) => a - b), tokens.length]
  return bounds.slice(1).map((end, index) => tokens.slice(bounds[index], end))
}

const streamed = (renderer: Renderer.Renderer, tokens: ReadonlyArray<number>, cuts: ReadonlyArray<number>) => {
  const parser = renderer.parser([Message.user("q")])
  const events = cutAt(tokens, cuts).flatMap((piece) => parser.push(piece))
  const { events: last, parsed } = parser.end()
  return { events: [...events, ...last], parsed }
}

describe.each(renderers)("$name", ({ family, name }) => {
  const make = Renderer.make(name, tokenizer(family), { date: "2026-11-30" })
  const traits = traitsOf(name)
  const vocabulary = Array.from({ length: 200000 }, (_, token) => token).filter((token) => tokenizer(family).has(token))
  const controls = Array.from(tokenizer(family).specialTokens.values())

  it.effect("reads back what it writes", () =>
    Effect.map(make, (renderer) => {
      let read = 0
      fc.assert(
        fc.property(text, answer(traits), (question, message) => {
          const { all, goesOn, prompt } = output(renderer, [Message.user(question), message])
          // Where a template disagrees with its own prompt (Nemotron without reasoning) nothing is read back
          if (!goesOn) return
          read++
          const { ending, message: back } = renderer.parse(all.slice(prompt.length), [Message.user(question)])
          assert.deepStrictEqual(back, message)
          assert.strictEqual(ending, "stop")
        }),
        { numRuns }
      )
      assert.isAbove(read, 0)
    }))

  it.effect("reads a stream as the whole, and its pieces are the message", () =>
    Effect.map(make, (renderer) => {
      const noise = fc.array(
        fc.oneof(
          { weight: 5, arbitrary: fc.constantFrom(...vocabulary) },
          { weight: 1, arbitrary: fc.constantFrom(...controls, ...vocabulary.slice(-40)) },
          {
            weight: 2,
            arbitrary: fc.constantFrom("<think>", "</think>", "<tool_call>", "</tool_call>", "\n\n", "<", "\n").map((
              part
            ) => tokenizer(family).encode(part, { addSpecialTokens: false })[0]!)
          }
        ),
        { maxLength: 30 }
      )
      const written = fc.tuple(text, answer(traits)).map(([question, message]) => {
        const { all, goesOn, prompt } = output(renderer, [Message.user(question), message])
        return all.slice(goesOn ? prompt.length : 0)
      })
      fc.assert(
        fc.property(fc.oneof(noise, written), fc.array(fc.nat(), { maxLength: 8 }), (tokens, cuts) => {
          const whole = renderer.parse(tokens, [Message.user("q")])
          const { events, parsed } = streamed(renderer, tokens, cuts)
          assert.deepStrictEqual(parsed, whole)
          const said = events.map((event) => event.type === "text" ? event.text : "").join("")
          const thought = events.map((event) => event.type === "thinking" ? event.thinking : "").join("")
          assert.strictEqual(said, Message.text(whole.message))
          assert.strictEqual(thought, Message.thinking(whole.message))
          assert.deepStrictEqual(
            events.flatMap((event) => event.type === "toolCall" ? [event.call] : []),
            whole.message.toolCalls ?? []
          )
        }),
        { numRuns }
      )
    }))

  it.effect("never has learnt what a sampler is given, and something behind it", () =>
    Effect.map(make, (renderer) => {
      fc.assert(
        fc.property(fc.array(fc.tuple(text, answer(traits)), { minLength: 1, maxLength: 3 }), (turns) => {
          const messages = conversationOf(turns)
          for (const segments of renderer.examples(messages)) {
            const tokens = tokensOf(segments)
            const weights = weightsOf(segments)
            assert.isTrue(weights.some((weight) => weight === 1))
            messages.forEach(({ role }, index) => {
              if (role !== "assistant") return
              const before = messages.slice(0, index)
              const prompt = Array.from(ModelInput.tokens(renderer.prompt(before)))
              if (common(tokens, prompt) < prompt.length) return
              // the messages themselves are what prompts of any role begin with
              const start = common(prompt, history(renderer, before))
              assert.isFalse(weights.slice(start, prompt.length).includes(1))
            })
          }
        }),
        { numRuns }
      )
    }))

  it.effect("extends the prompt by the output, where it says so", () =>
    Effect.map(make, (renderer) => {
      if (!renderer.extension) return
      fc.assert(
        fc.property(
          fc.array(fc.tuple(text, answer({ ...traits, thinks: traits.thinks && !/^qwen3_instruct$/.test(name) })), {
            minLength: 2,
            maxLength: 3
          }),
          (turns) => {
            const messages = conversationOf(turns)
            for (let index = 0; index < messages.length; index++) {
              const next = messages.findIndex(({ role }, at) => at > index && role === "assistant")
              if (messages[index]?.role !== "assistant" || next === -1) continue
              const { all, goesOn } = output(renderer, messages.slice(0, index + 1))
              if (!goesOn) continue
              const later = Array.from(ModelInput.tokens(renderer.prompt(messages.slice(0, next))))
              // the text of a stop is longer than what the next message begins with
              const given = name === "role_colon" ? all.slice(0, later.length) : all
              assert.deepStrictEqual(later.slice(0, given.length), given)
            }
          }
        ),
        { numRuns }
      )
    }))
})
