/** Teaches the model the lessons of the page, as `tinkex demo` does, and asks it before and after. */
import * as Datum from "../../../src/protocol/Datum.js"
import type { Sampling, Service } from "../../../src/promise/index.js"
import type { Tokenizer } from "../../../src/tokenizer/Tokenizer.js"
import { completion, type Lesson, prompt } from "../../../src/cli/commands/lessons.js"

export interface Step {
  readonly step: number
  /** Mean loss of a trained token, in nats. */
  readonly loss: number
  readonly tokensPerSecond: number
}

export interface Taught {
  readonly sampler: Sampling
  readonly answers: ReadonlyArray<string>
  readonly seconds: number
}

const rank = 16
const learningRate = 1e-2

/** The likeliest answer of a model to a question. */
export const ask = async (sampler: Sampling, { decode, encode }: Tokenizer, question: string): Promise<string> => {
  const { sequences } = await sampler.sample({ prompt: encode(prompt(question)), maxTokens: 24, temperature: 0 })
  return sequences.map(({ tokens }) => decode(tokens, { skipSpecialTokens: true }).split("\n")[0]?.trim()).join("")
}

/** Trains on the lessons, with two steps on their way at a time, and asks every question. */
export const teach = async (
  service: Service,
  tokenizer: Tokenizer,
  lessons: ReadonlyArray<Lesson>,
  steps: number,
  onStep: (step: Step) => void,
  signal: AbortSignal
): Promise<Taught> => {
  const { encode } = tokenizer
  const training = await service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank, seed: 0, signal })
  const data = lessons.map(({ answer, question }) =>
    Datum.fromCompletion(encode(prompt(question)), encode(completion(answer)))
  )
  const length = (text: (lesson: Lesson) => string) => lessons.reduce((sum, one) => sum + encode(text(one)).length, 0)
  const trained = length(({ answer }) => completion(answer))
  const read = length(({ answer, question }) => prompt(question) + completion(answer)) - lessons.length
  const submit = (step: number) =>
    Promise.all([
      training.forwardBackward(data, "cross_entropy", { signal }),
      // warm up over the first steps, then go down to a tenth
      training.optimStep({
        learningRate: learningRate * Math.min(1, (step + 1) / 8) * (1 - 0.9 * step / steps),
        signal
      })
    ])
  const started = performance.now()
  let next = await submit(0)
  for (let step = 0; step < steps; step++) {
    const [gradients, update] = next
    if (step + 1 < steps) next = await submit(step + 1)
    const [{ metrics }] = await Promise.all([gradients.result({ signal }), update.result({ signal })])
    const elapsed = (performance.now() - started) / 1000
    onStep({
      step: step + 1,
      loss: (metrics["loss:sum"] ?? NaN) / trained,
      tokensPerSecond: (step + 1) * read / elapsed
    })
  }
  const seconds = (performance.now() - started) / 1000
  const sampler = await training.saveWeightsAndGetSamplingClient({ signal })
  const answers = await Promise.all(lessons.map(({ question }) => ask(sampler, tokenizer, question)))
  return { sampler, answers, seconds }
}
