/**
 * Teaches a model a set of questions through the public clients, and asks them before and after.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Future from "../../client/Future.js"
import type * as SamplingClient from "../../client/SamplingClient.js"
import * as ServiceClient from "../../client/ServiceClient.js"
import * as Datum from "../../protocol/Datum.js"
import type { Tokenizer } from "../../tokenizer/Tokenizer.js"
import { completion, prompt, taught, untaught } from "./lessons.js"

export interface Answer {
  readonly question: string
  readonly expected: string | undefined
  readonly before: string
  readonly after: string
}

export interface Progress {
  readonly step: number
  readonly steps: number
  /** Mean loss of a trained token, in nats. */
  readonly loss: number
  /** All tokens that the model read, per second. */
  readonly tokensPerSecond: number
  readonly secondsLeft: number
}

export interface Report {
  readonly losses: ReadonlyArray<number>
  readonly answers: ReadonlyArray<Answer>
  readonly correct: number
  readonly asked: number
  readonly tokens: number
  readonly trainingMs: number
}

const ask = (
  sampler: SamplingClient.Client,
  { decode, encode }: Tokenizer,
  questions: ReadonlyArray<string>
) =>
  Effect.forEach(
    questions,
    (question) =>
      Effect.map(
        sampler.sample({ prompt: encode(prompt(question)), maxTokens: 24, temperature: 0 }),
        ({ sequences: [sequence] }) =>
          sequence === undefined
            ? ""
            : decode(sequence.tokens, { skipSpecialTokens: true }).split("\n")[0]?.trim() ?? ""
      ),
    { concurrency: "unbounded" }
  )

/**
 * Steps are kept two in flight: the server always has the next batch while the answers of the last one travel.
 */
export const teach = (options: {
  readonly baseModel: string
  readonly rank: number
  readonly steps: number
  readonly learningRate: number
  readonly seed: number
  readonly onProgress: (progress: Progress) => Effect.Effect<void>
}) =>
  Effect.gen(function*() {
    const service = yield* ServiceClient.ServiceClient
    const training = yield* service.createLoraTrainingClient({
      baseModel: options.baseModel,
      rank: options.rank,
      seed: options.seed
    })
    const tokenizer = yield* training.tokenizer
    const questions = [...taught.map(({ question }) => question), ...untaught]
    const base = yield* service.createSamplingClient({ baseModel: options.baseModel })
    const before = yield* ask(base, tokenizer, questions)

    const data = taught.map(({ answer, question }) =>
      Datum.fromCompletion(tokenizer.encode(prompt(question)), tokenizer.encode(completion(answer)))
    )
    const trained = taught.reduce((sum, { answer }) => sum + tokenizer.encode(completion(answer)).length, 0)
    const read = taught.reduce(
      (sum, { answer, question }) => sum + tokenizer.encode(prompt(question) + completion(answer)).length - 1,
      0
    )
    const started = yield* Clock.currentTimeMillis
    const losses: Array<number> = []
    const submit = (step: number) =>
      Effect.all([
        training.forwardBackward(data, "cross_entropy"),
        // Warm up over the first steps, then go down to a tenth.
        training.optimStep({
          learningRate: options.learningRate * Math.min(1, (step + 1) / 8) * (1 - 0.9 * step / options.steps)
        })
      ])
    let next = yield* submit(0)
    for (let step = 0; step < options.steps; step++) {
      const [gradients, update] = next
      if (step + 1 < options.steps) next = yield* submit(step + 1)
      const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(update)])
      const loss = (metrics["loss:sum"] ?? NaN) / trained
      losses.push(loss)
      const seconds = ((yield* Clock.currentTimeMillis) - started) / 1000
      yield* options.onProgress({
        step: step + 1,
        steps: options.steps,
        loss,
        tokensPerSecond: (step + 1) * read / seconds,
        secondsLeft: seconds / (step + 1) * (options.steps - step - 1)
      })
    }
    const trainingMs = (yield* Clock.currentTimeMillis) - started

    const sampler = yield* training.saveWeightsAndGetSamplingClient
    const after = yield* ask(sampler, tokenizer, questions)
    const answers = questions.map((question, i): Answer => ({
      question,
      expected: taught[i]?.answer,
      before: before[i] ?? "",
      after: after[i] ?? ""
    }))
    const correct = answers.filter(({ after, expected }) => expected !== undefined && after === expected).length
    const report: Report = {
      losses,
      answers,
      correct,
      asked: taught.length,
      tokens: options.steps * read,
      trainingMs
    }
    return report
  })
