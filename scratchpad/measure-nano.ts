/**
 * Measures the `tinkex/nano` that ships: held-out loss, sums, questions, copying, and what it writes.
 *
 *     npx tsx scratchpad/measure-nano.ts
 *
 * HEAD
 */
import * as Either from "effect/Either"
import { loadNanoWeights } from "../src/engine/internal/nanoWeights.js"
import * as Tokenizer from "../src/tokenizer/Tokenizer.js"
import { heldOutTasks, heldOutText } from "./nano-data.js"
import { makeNano } from "./nano-model.js"
import { isHeldOut, questions, seeded } from "./nano-tasks.js"

const nano = makeNano(Either.getOrThrow(loadNanoWeights()))
const random = seeded(3)
const percent = (part: number, whole: number) => `${part}/${whole} = ${(100 * part / whole).toFixed(1)} %`

const text = heldOutText(256)
const { sum, tokens } = nano.loss(text)
const characters = text.reduce((total, window) => total + Tokenizer.nano.decode(window.slice(1)).length, 0)
console.log(
  `held-out text: ${(sum / tokens).toFixed(4)} nats a token (uniform: ${Math.log(512).toFixed(4)}), ` +
    `${(sum / characters / Math.LN2).toFixed(3)} bits a character, ${tokens} tokens`
)
const tasks = nano.loss(heldOutTasks(32, 256))
console.log(`held-out tasks: ${(tasks.sum / tasks.tokens).toFixed(4)} nats a token, ${tasks.tokens} tokens`)

/** The first line of what the model answers, greedily. */
const answer = (prompt: string, maxTokens = 12) =>
  (nano.continue(prompt, { maxTokens, temperature: 0, random, stop: "\n" }).split("\n")[0] ?? "").trim()

const sums = Array.from({ length: 100 }, (_, i) => [Math.floor(i / 10), i % 10] as const)
const forms: ReadonlyArray<(a: number, b: number) => string> = [
  (a, b) => `${a} + ${b} =`,
  (a, b) => `${a} plus ${b} is`,
  (a, b) => `Question: What is ${a} + ${b}?\nAnswer:`
]
for (const form of forms) {
  const right = (held: boolean) => {
    const chosen = sums.filter(([a, b]) => isHeldOut(a, b) === held)
    const answers = chosen.map(([a, b]) => answer(form(a, b), 4).replace(/\.$/, ""))
    return {
      score: percent(chosen.filter(([a, b], i) => answers[i] === String(a + b)).length, chosen.length),
      near: percent(chosen.filter(([a, b], i) => Math.abs(Number(answers[i]) - a - b) <= 1).length, chosen.length),
      answers: chosen.map(([a, b], i) => `${a}+${b}=${answers[i]}`).join(" ")
    }
  }
  const untaught = right(true)
  console.log(
    `sums as ${JSON.stringify(form(1, 6))}: untaught ${untaught.score} (within one: ${untaught.near}), taught ${
      right(false).score
    }; ` +
      `chance ${percent(1, 19)} over all results, 2/20 = 10.0 % for the best constant`
  )
  console.log(`  ${untaught.answers}`)
}
const asked = questions.filter((_, i) => i % 3 === 0)
console.log(
  `questions it was taught: ${
    percent(
      asked.filter(([question, reply]) => answer(`Question: ${question}\nAnswer:`) === reply).length,
      asked.length
    )
  }`
)
const copies = ["river stone", "bird", "money letter snow", "tobi 42 red", "gold fire wind rain"]
console.log(`copies: ${percent(copies.filter((x) => answer(`Copy: ${x}\n`, 24) === x).length, copies.length)}`)

console.log("\nsamples at temperature 0.7:")
for (
  const prompt of [
    "Alice",
    "He said to them,",
    "Mrs. Bennet",
    "In the morning",
    "The king",
    "\"I am sure,\" said Emma,"
  ]
) {
  console.log(`\n[${prompt}]${nano.continue(prompt, { maxTokens: 100, temperature: 0.7, random })}`)
}
