/**
 * Measures the `tinkex/nano` that ships: held-out loss, sums, questions, copying, and what it writes.
 *
 *     npx tsx scratchpad/measure-nano.ts
 *
 * For the weights that ship (in full: `nano/measured.txt`): held-out text 2.3927 nats a token, 1.555 bits a character (uniform: 6.2383
 * nats); one-digit sums that it was never taught as `a + b =` 12 of 20, as `a plus b is` 7 of 20, as a question 16 of 20 (chance: 5.3 %
 * over all results, 2 of 20 for the best constant), taught ones 77, 56 and 80 of 80; questions it was taught 56 of 75; copies 0 of 5:
 * copying is not learnt.
 */
import * as Effect from "effect/Effect"
import * as Tokenizer from "../src/tokenizer/Tokenizer.js"
import { heldOutTasks, heldOutText } from "./nano-data.js"
import { makeNano } from "./nano-model.js"
import { isHeldOut, questions } from "./nano-tasks.js"

const percent = (part: number, whole: number) => `${part}/${whole} = ${(100 * part / whole).toFixed(1)} %`

const sums = Array.from({ length: 100 }, (_, i) => [Math.floor(i / 10), i % 10] as const)
const forms: ReadonlyArray<(a: number, b: number) => string> = [
  (a, b) => `${a} + ${b} =`,
  (a, b) => `${a} plus ${b} is`,
  (a, b) => `Question: What is ${a} + ${b}?\nAnswer:`
]

const program = Effect.gen(function*() {
  const nano = yield* makeNano
  const text = heldOutText(256)
  const { sum, tokens } = yield* nano.loss(text)
  const characters = text.reduce((total, window) => total + Tokenizer.nano.decode(window.slice(1)).length, 0)
  console.log(
    `held-out text: ${(sum / tokens).toFixed(4)} nats a token (uniform: ${Math.log(512).toFixed(4)}), ` +
      `${(sum / characters / Math.LN2).toFixed(3)} bits a character, ${tokens} tokens`
  )
  const tasks = yield* nano.loss(heldOutTasks(32, 256))
  console.log(`held-out tasks: ${(tasks.sum / tasks.tokens).toFixed(4)} nats a token, ${tasks.tokens} tokens`)

  /** The first lines of what the model answers, greedily. */
  const answers = (prompts: ReadonlyArray<string>, maxTokens: number) =>
    Effect.map(
      nano.continueAll(prompts, { maxTokens, temperature: 0, seed: 0, stop: "\n" }),
      (all) => all.map((answer) => answer.split("\n")[0]!.trim())
    )

  for (const form of forms) {
    const replies = (yield* answers(sums.map(([a, b]) => form(a, b)), 4)).map((reply) => reply.replace(/\.$/, ""))
    const right = (held: boolean) => {
      const chosen = sums.flatMap(([a, b], i) =>
        isHeldOut(a, b) === held ? [{ result: a + b, reply: replies[i]! }] : []
      )
      return percent(chosen.filter(({ reply, result }) => reply === String(result)).length, chosen.length)
    }
    console.log(
      `sums as ${JSON.stringify(form(1, 6))}: untaught ${right(true)}, taught ${right(false)}; ` +
        `chance ${percent(1, 19)} over all results, 2/20 = 10.0 % for the best constant`
    )
    console.log(`  ${sums.flatMap(([a, b], i) => isHeldOut(a, b) ? [`${a}+${b}=${replies[i]}`] : []).join(" ")}`)
  }
  const asked = questions.filter((_, i) => i % 3 === 0)
  const replies = yield* answers(asked.map(([question]) => `Question: ${question}\nAnswer:`), 12)
  console.log(
    `questions it was taught: ${percent(asked.filter(([, answer], i) => replies[i] === answer).length, asked.length)}`
  )
  const copies = ["river stone", "bird", "money letter snow", "tobi 42 red", "gold fire wind rain"]
  const copied = yield* answers(copies.map((x) => `Copy: ${x}\n`), 24)
  console.log(`copies: ${percent(copies.filter((x, i) => copied[i] === x).length, copies.length)}`)

  console.log("\nsamples at temperature 0.7:")
  const prompts = [
    "Alice",
    "He said to them,",
    "Mrs. Bennet",
    "In the morning",
    "The king",
    "\"I am sure,\" said Emma,"
  ]
  const samples = yield* nano.continueAll(prompts, { maxTokens: 100, temperature: 0.7, seed: 1 })
  prompts.forEach((prompt, i) => console.log(`\n[${prompt}]${samples[i]}`))
})

await Effect.runPromise(Effect.scoped(program))
