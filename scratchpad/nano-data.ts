/**
 * The training and held-out data of `tinkex/nano` as windows of tokens.
 *
 * Text is cut into windows that start at a sentence; generated documents are joined, each ended by `<|endoftext|>`. Every
 * fiftieth run of 40 sentences is held out.
 */
import * as Tokenizer from "../src/tokenizer/Tokenizer.js"
import { loadBooks } from "./nano-corpus.js"
import { type Mix, type Random, seeded, stages, taskDocument } from "./nano-tasks.js"

/** Inputs and targets of one window: `length + 1` tokens, or fewer at the end of a text. */
export type Window = Int32Array

const runLength = 40
const heldOutEvery = 50

/** Runs of sentences, each with what follows it up to the next: a blank, or a line break at the end of a paragraph. */
const runs = (): ReadonlyArray<ReadonlyArray<string>> =>
  loadBooks().flatMap((book) => {
    const sentences = book.paragraphs.flatMap((paragraph) =>
      `${paragraph}\n`.split(/(?<=[.!?]["')]?[ \n])(?=["'(]?[A-Z])/)
    )
    return Array.from(
      { length: Math.ceil(sentences.length / runLength) },
      (_, i) => sentences.slice(i * runLength, (i + 1) * runLength)
    )
  })

const { encode } = Tokenizer.nano

/** Cuts consecutive sentences into windows. Where one ends within a sentence the next starts with that sentence. */
const windowsOf = (sentences: ReadonlyArray<string>, size: number): ReadonlyArray<Window> => {
  const lengths = sentences.map((sentence) => encode(sentence).length)
  const windows: Array<Window> = []
  for (let start = 0; start < sentences.length;) {
    let end = start
    for (let total = 0; end < sentences.length && total < size; end++) total += lengths[end]!
    const tokens = encode(sentences.slice(start, end).join("").trimEnd())
    // What is left at the end of a stretch is in the window before it already, up to a sentence
    if (tokens.length >= size / 4) windows.push(tokens.slice(0, size))
    start = Math.max(end - (tokens.length > size ? 1 : 0), start + 1)
  }
  return windows
}

/** Neighbouring runs that are trained on, joined, so that windows cross from one to the next. */
const stretches = (): ReadonlyArray<ReadonlyArray<string>> => {
  const joined: Array<Array<string>> = [[]]
  runs().forEach((run, i) => {
    if (isHeldOutRun(i)) joined.push([])
    else joined.at(-1)!.push(...run)
  })
  return joined
}

const isHeldOutRun = (i: number): boolean => i % heldOutEvery === heldOutEvery / 2

/** Windows of the text that is trained on. */
export const trainingText = (length: number): ReadonlyArray<Window> =>
  stretches().flatMap((sentences) => windowsOf(sentences, length + 1))

/** Windows of the text that is not. */
export const heldOutText = (length: number): ReadonlyArray<Window> =>
  runs().filter((_, i) => isHeldOutRun(i)).flatMap((run) => windowsOf(run, length + 1))

/** One window of generated documents. */
export const taskWindow = (random: Random, mix: Mix, length: number): Window => {
  const window = new Int32Array(length + 1)
  for (let at = 0; at < window.length;) {
    const tokens = encode(`${taskDocument(random, mix)}<|endoftext|>`)
    window.set(tokens.subarray(0, window.length - at), at)
    at += tokens.length
  }
  return window
}

/** Generated windows of the last stage, from a seed that training does not use. */
export const heldOutTasks = (count: number, length: number): ReadonlyArray<Window> => {
  const random = seeded(1000)
  return Array.from({ length: count }, () => taskWindow(random, stages.at(-1)!, length))
}
