/**
 * What rendering costs beside encoding: a conversation of 100,000 tokens as an example with weights, against the same text
 * through the tokenizer alone; and reading an answer beside decoding it.
 */
import { Effect } from "effect"
import { Message, ModelInput, Renderer, Tokenizer } from "tinkex"
import type { Row } from "./Row.js"

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

const timed = (run: () => unknown): number => {
  const start = performance.now()
  run()
  return performance.now() - start
}

/** The two in turn, so that a busy machine slows both. */
const ratio = (a: () => unknown, b: () => unknown, rounds: number): number => {
  a()
  b()
  return median(Array.from({ length: rounds }, () => timed(a) / timed(b)))
}

const words = "the model reads a line of words and answers with another one, as long as it likes to; then it stops. "
  .split(" ")

/** About as many tokens of `tinkex/nano`, in turns of some 250. */
const conversation = (tokens: number): ReadonlyArray<Message.Message> => {
  const messages: Array<Message.Message> = []
  for (let count = 0, turn = 0; count < tokens; turn++) {
    const text = Array.from({ length: 120 }, (_, i) => `${words[(i * 7 + turn) % words.length]}${(i * turn) % 97}`)
      .join(" ")
    count += Tokenizer.nano.encode(text).length
    messages.push(turn % 2 === 0 ? Message.user(text) : Message.assistant(text))
  }
  return messages.length % 2 === 0 ? messages : messages.slice(0, -1)
}

const measure = Effect.gen(function*() {
  const renderer = yield* Renderer.make("nano", Tokenizer.nano)
  const messages = conversation(100_000)
  const tokens = ModelInput.tokens(renderer.prompt(messages))
  const text = Tokenizer.nano.decode(tokens)
  const answer = Tokenizer.nano.encode(`${text.slice(0, 20_000).replaceAll(/<\|[a-z_]+\|>/g, "")}<|im_end|>`)
  const encode = () => Tokenizer.nano.encode(text)
  const result: ReadonlyArray<Row> = [
    {
      name: "chat: example of 100,000 tokens, against encoding its text",
      value: ratio(() => renderer.example(messages), encode, 7),
      unit: "times",
      target: 1.3,
      better: "lower"
    },
    {
      name: "chat: prompt of 100,000 tokens, against encoding its text",
      value: ratio(() => renderer.prompt(messages), encode, 7),
      unit: "times",
      target: 1.3,
      better: "lower"
    },
    {
      name: "chat: an answer read token by token",
      value: answer.length / median(Array.from({ length: 7 }, () => timed(() => renderer.parse(answer)))) * 1000,
      unit: "tokens/s",
      target: null,
      better: "higher"
    }
  ]
  return result
})

export const rows = () => Effect.runPromise(measure)
