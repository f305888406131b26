/** Log-probabilities of prompts. */
import * as Effect from "effect/Effect"
import * as Datum from "../../protocol/Datum.js"
import { topkRows } from "../../protocol/Sampling.js"
import { allClose, type Check, close, inGroup, that } from "../check.js"
import * as Trainer from "../trainer.js"
import { inputs, length } from "./data.js"

const check = inGroup("prompt")
const source = "sampling"

const ask = (sampler: Trainer.Sampler, more: Readonly<Record<string, unknown>> & { readonly feature?: string } = {}) =>
  sampler.sample([...inputs], { max_tokens: 1, temperature: 0 }, { prompt_logprobs: true, ...more })

export const prompts: ReadonlyArray<Check> = [
  check(
    "as-many",
    "there is one for each token, the first none: nothing predicts it",
    { source, sampled: 8 },
    (peer) =>
      Effect.gen(function*() {
        const { promptLogprobs = [] } = yield* ask(yield* Trainer.ofBase(peer))
        yield* that(promptLogprobs.length === length, `${length} entries`, () => String(promptLogprobs.length))
        yield* that(Number.isNaN(promptLogprobs[0]), "no first entry", () => String(promptLogprobs[0]))
        yield* that(
          [...promptLogprobs].slice(1).every((value) => value <= 1e-6),
          "logprobs",
          () => [...promptLogprobs].join()
        )
      })
  ),
  check(
    "as-training",
    "they are what training says of the same tokens",
    { source, trained: length, sampled: 8 },
    (peer) =>
      Effect.gen(function*() {
        const model = yield* Trainer.make(peer)
        const { promptLogprobs = [] } = yield* ask(yield* model.sampler)
        const { logprobs } = yield* model.pass([
          Datum.make({
            modelInput: inputs.slice(0, -1),
            lossFnInputs: { target_tokens: inputs.slice(1), weights: inputs.slice(1).map(() => 1) }
          })
        ], { forwardOnly: true })
        yield* allClose("prompt logprobs", [...promptLogprobs].slice(1), logprobs[0] ?? [], 1e-3)
      })
  ),
  check("temperature", "temperature does not touch them", { source, sampled: 16 }, (peer) =>
    Effect.gen(function*() {
      const sampler = yield* Trainer.ofBase(peer)
      const at = (temperature: number) =>
        Effect.map(
          sampler.sample([...inputs], { max_tokens: 1, temperature }, { prompt_logprobs: true }),
          ({ promptLogprobs }) => [...(promptLogprobs ?? [])].slice(1)
        )
      yield* allClose("prompt logprobs at temperature 2", yield* at(2), yield* at(1), 1e-4)
    })),
  check("unasked", "they do not come unless asked for", { source, sampled: 8 }, (peer) =>
    Effect.gen(function*() {
      const { promptLogprobs } = yield* (yield* Trainer.ofBase(peer)).sample([...inputs], { max_tokens: 1 })
      yield* that(
        promptLogprobs === undefined || promptLogprobs.length === 0,
        "none",
        () => `${promptLogprobs?.length}`
      )
    })),
  check("likeliest", "the likeliest tokens come in order, with the logprobs that they have", {
    source,
    feature: "topk-prompt-logprobs",
    sampled: 8
  }, (peer) =>
    Effect.gen(function*() {
      const response = yield* ask(yield* Trainer.ofBase(peer), {
        topk_prompt_logprobs: 4,
        feature: "topk-prompt-logprobs"
      })
      const rows = response.topkPromptLogprobs === undefined ? [] : topkRows(response.topkPromptLogprobs)
      yield* that(rows.length === length, `${length} rows`, () => String(rows.length))
      for (const [i, row] of rows.entries()) {
        if (row === null) continue
        yield* that(row.length === 4, "4 tokens a row", () => String(row.length))
        for (let j = 1; j < row.length; j++) {
          yield* that(row[j]![1] <= row[j - 1]![1], "the likeliest first", () =>
            `row ${i}: ${
              row.map(([, p]) => p).join()
            }`) // j is in the row
        }
        const mine = row.find(([token]) => token === inputs[i])
        if (mine !== undefined && i > 0) yield* close("its own logprob", response.promptLogprobs?.[i], mine[1], 1e-3)
      }
    })),
  check(
    "last-n",
    "only the last n may be asked for",
    { source, feature: "prompt-logprobs-last-n", sampled: 8 },
    (peer) =>
      Effect.gen(function*() {
        const { promptLogprobs = [] } = yield* ask(yield* Trainer.ofBase(peer), {
          prompt_logprobs_last_n: 2,
          feature: "prompt-logprobs-last-n"
        })
        const told = [...promptLogprobs].map((value) => !Number.isNaN(value))
        yield* that(
          told.slice(-2).every((one) => one) && !told.slice(0, -2).some((one) => one),
          "the last 2 and no others",
          () => told.map((one) => one ? "x" : "-").join("")
        )
      })
  )
]
