/** The page: what is typed, clicked and shown. */
import * as Tokenizer from "../../../src/tokenizer/Tokenizer.js"
import type { Sampling, Service } from "../../../src/promise/index.js"
import { type Lesson, taught } from "../../../src/cli/commands/lessons.js"
import { start } from "./service.js"
import { ask, teach } from "./teach.js"

/** What the build has measured on Node: the same lessons, steps and server. */
declare const nodeTimings: {
  readonly where: string
  readonly seconds: number
  readonly tokensPerSecond: number
} | null

const find = <E extends Element>(selector: string): E => {
  const found = document.querySelector<E>(selector)
  if (found === null) throw new Error(`the page has no ${selector}`)
  return found
}

const status = find<HTMLElement>("#status")
const trainButton = find<HTMLButtonElement>("#train")
const stopButton = find<HTMLButtonElement>("#stop")
const steps = find<HTMLInputElement>("#steps")
const askForm = find<HTMLFormElement>("#ask")
const askButton = find<HTMLButtonElement>("#ask button")
const say = (selector: string, text: string) => {
  find<HTMLElement>(selector).textContent = text
}

interface Row {
  readonly item: HTMLLIElement
  readonly question: HTMLInputElement
  readonly answer: HTMLInputElement
  readonly output: HTMLOutputElement
  before: string
}

const field = (label: string, value: string): HTMLInputElement => {
  const input = document.createElement("input")
  input.value = value
  input.setAttribute("aria-label", label)
  return input
}

const rows = taught.map((lesson, i): Row => {
  const item = document.createElement("li")
  const question = field(`Question of lesson ${i + 1}`, lesson.question)
  const answer = field(`Answer of lesson ${i + 1}`, lesson.answer)
  const output = document.createElement("output")
  item.append(question, answer, output)
  find("#lessons").append(item)
  return { item, question, answer, output, before: "" }
})
const lessons = (): ReadonlyArray<Lesson> =>
  rows.map(({ answer, question }) => ({ question: question.value.trim(), answer: answer.value.trim() }))

const draw = (losses: ReadonlyArray<number>, of: number) => {
  const most = Math.max(...losses, 1e-6)
  const points = losses.map((loss, i) => `${600 * i / Math.max(1, of - 1)},${155 - 150 * loss / most}`)
  find("#curve polyline").setAttribute("points", points.join(" "))
  const last = losses.at(-1) ?? 0
  say("#curve-title", `Loss by step: from ${(losses[0] ?? 0).toFixed(2)} to ${last.toFixed(3)} after ${losses.length} steps`)
}

const messageOf = (error: unknown) => error instanceof Error ? error.message : String(error)

const run = async (service: Service) => {
  const tokenizer = Tokenizer.nano
  const base = await service.createSamplingClient({ baseModel: "tinkex/nano" })
  let trained: Sampling | undefined
  let giveUp = new AbortController()

  const train = async () => {
    const given = Math.round(Number(steps.value))
    const count = Number.isFinite(given) ? Math.min(400, Math.max(1, given)) : 60
    giveUp = new AbortController()
    trainButton.disabled = true
    stopButton.hidden = false
    const asked = lessons()
    status.textContent = "The untrained model is asked."
    const losses: Array<number> = []
    try {
      for (const [i, row] of rows.entries()) {
        row.before = await ask(base, tokenizer, asked[i]?.question ?? "")
        row.item.classList.remove("right")
        row.output.textContent = `before: ${row.before}`
        giveUp.signal.throwIfAborted()
      }
      status.textContent = "Training."
      const { answers, sampler, seconds } = await teach(service, tokenizer, asked, count, ({ loss, tokensPerSecond }) => {
        losses.push(loss)
        draw(losses, count)
        say("#tab-rate", Math.round(tokensPerSecond).toLocaleString("en"))
      }, giveUp.signal)
      trained = sampler
      say("#tab-seconds", seconds.toFixed(1))
      const right = rows.filter((row, i) => {
        const correct = answers[i] === asked[i]?.answer
        row.item.classList.toggle("right", correct)
        row.output.textContent = `before: ${row.before} · after: ${answers[i] ?? ""}${correct ? " · right" : ""}`
        return correct
      }).length
      status.textContent = `${right} of ${rows.length} right after ${count} steps, in ${seconds.toFixed(1)} seconds.`
    } catch (error) {
      status.textContent = giveUp.signal.aborted ? "Stopped." : `That failed: ${messageOf(error)}`
    }
    trainButton.disabled = false
    stopButton.hidden = true
  }

  const answer = async () => {
    const question = find<HTMLInputElement>("#question").value
    try {
      say("#ask-before", await ask(base, tokenizer, question))
      say("#ask-after", trained === undefined ? "not trained yet" : await ask(trained, tokenizer, question))
    } catch (error) {
      say("#ask-after", messageOf(error))
    }
  }

  trainButton.addEventListener("click", () => void train())
  stopButton.addEventListener("click", () => giveUp.abort())
  askForm.addEventListener("submit", (event) => {
    event.preventDefault()
    void answer()
  })
  trainButton.disabled = false
  askButton.disabled = false
  status.textContent = "Ready."
}

if (nodeTimings !== null) {
  say("#node-where", nodeTimings.where)
  say("#node-seconds", nodeTimings.seconds.toFixed(1))
  say("#node-rate", Math.round(nodeTimings.tokensPerSecond).toLocaleString("en"))
}
start().then(run).catch((error: unknown) => {
  status.textContent = `The model could not be loaded: ${messageOf(error)}`
})
