/**
 * A reader of blocks in text: reasoning between tags, calls between marks, the rest is text.
 *
 * @internal
 */
import {
  type CallBlock,
  firstMark,
  type Found,
  heldBack,
  type Markup,
  type Reader,
  type Thinking,
  unterminated
} from "./markup.js"

type State =
  | { readonly is: "text" }
  | { readonly is: "thinking"; readonly thinking: Thinking }
  | { readonly is: "call"; readonly block: CallBlock }
  | { readonly is: "stray"; readonly error: string }

interface Opening {
  readonly mark: string
  readonly to: State
}

const openingsOf = ({ calls = [], stray = [], thinking }: Markup): ReadonlyArray<Opening> => [
  ...(thinking === undefined ? [] : [{ mark: thinking.open, to: { is: "thinking" as const, thinking } }]),
  ...calls.flatMap((block): ReadonlyArray<Opening> => [
    { mark: block.open, to: { is: "call", block } },
    ...(block.before === undefined ? [] : [{ mark: block.before + block.open, to: { is: "call" as const, block } }])
  ]),
  ...stray.map((mark) => ({ mark, to: { is: "stray" as const, error: `'${mark}' outside of a block of calls` } }))
]

const isBreak = (char: string): boolean => char === "\n"
const isBlank = (char: string): boolean => /\s/.test(char)
const text: State = { is: "text" }

/** `opened`: the text begins inside of the reasoning, whose mark the prompt wrote. @internal */
export const blockReader = (markup: Markup, opened: boolean, found: (found: Found) => void): Reader => {
  const openings = openingsOf(markup)
  const suffix = markup.suffix ?? ""
  // A suffix that is all there is must be held back whole: at the end it is framing
  const holding = [...openings.map(({ mark }) => mark), ...(suffix === "" ? [] : [`${suffix}\0`])]
  let pending = ""
  /** From where the end of a call is still to be looked for. */
  let from = 0
  let state = text as State // what it starts as is not all it can be
  let prefix = markup.prefix ?? ""
  /** Framing to be dropped before anything else. */
  let skip: { readonly is: (char: string) => boolean; readonly most: number } | undefined
  /** Blanks after reasoning: framing, should the block end here. */
  let blanks = ""

  const enter = (next: State): void => {
    state = next
    from = 0
    if (next.is === "thinking" && next.thinking.trim !== "none") {
      skip = { is: next.thinking.trim === "breaks" ? isBreak : isBlank, most: Infinity }
    }
  }
  if (opened && markup.thinking !== undefined) {
    enter({ is: "thinking", thinking: markup.thinking })
    prefix = markup.thinking.open // a model may write it once more
  }

  const say = (piece: string): void => {
    if (piece !== "") found({ type: "text", text: piece })
  }

  const think = (piece: string, { trim }: Thinking): void => {
    const all = blanks + piece
    const isFraming = trim === "breaks" ? isBreak : trim === "blanks" ? isBlank : () => false
    let end = all.length
    while (end > 0 && isFraming(all[end - 1]!)) end--
    blanks = all.slice(end)
    if (end > 0) found({ type: "thinking", thinking: all.slice(0, end) })
  }

  const take = (length: number): string => {
    const taken = pending.slice(0, length)
    pending = pending.slice(length)
    return taken
  }

  /** False while it cannot be told whether the text begins with the prefix. */
  const dropPrefix = (): boolean => {
    if (prefix === "") return true
    if (pending.length < prefix.length && prefix.startsWith(pending)) return false
    if (pending.startsWith(prefix)) take(prefix.length)
    prefix = ""
    return true
  }

  /** False when all there is was framing and more of it may come. */
  const dropFraming = (): boolean => {
    if (skip === undefined) return true
    let dropped = 0
    while (dropped < skip.most && dropped < pending.length && skip.is(pending[dropped]!)) dropped++
    take(dropped)
    const done = pending !== "" || dropped === skip.most
    skip = done ? undefined : { ...skip, most: skip.most - dropped }
    return done
  }

  const stepText = (atEnd: boolean): boolean => {
    const first = firstMark(pending, openings)
    if (first === undefined) {
      say(take(pending.length - (atEnd ? 0 : heldBack(pending, holding))))
      return false
    }
    // A longer mark may begin here or before, of which this one is a part
    const held = atEnd ? 0 : heldBack(pending, holding)
    if (held > 0 && pending.length - held <= first.at) {
      say(take(pending.length - held))
      return false
    }
    say(take(first.at))
    if (first.found.to.is !== "stray") take(first.found.mark.length)
    enter(first.found.to)
    return true
  }

  const stepThinking = (thinking: Thinking): boolean => {
    const at = pending.indexOf(thinking.close)
    if (at === -1) {
      think(take(pending.length - heldBack(pending, [thinking.close])), thinking)
      return false
    }
    think(take(at), thinking)
    blanks = ""
    take(thinking.close.length)
    enter(text)
    skip = thinking.after === 0 ? undefined : { is: isBreak, most: thinking.after }
    return true
  }

  const stepCall = (block: CallBlock): boolean => {
    const at = pending.indexOf(block.close, from)
    if (at === -1) {
      from = Math.max(0, pending.length - block.close.length)
      return false
    }
    const inner = take(at)
    take(block.close.length)
    for (const call of block.read(inner, block.open + inner + block.close)) found({ type: "call", call })
    enter(markup.stray === undefined ? text : { is: "stray", error: "text after the block of calls" })
    skip = { is: isBlank, most: Infinity }
    return true
  }

  /** Goes on by one mark; false when that takes more text. */
  const step = (atEnd: boolean): boolean => {
    if (!atEnd && !dropPrefix()) return false
    if (!dropFraming()) return false
    switch (state.is) {
      case "text":
        return stepText(atEnd)
      case "thinking":
        return stepThinking(state.thinking)
      case "call":
        return stepCall(state.block)
      case "stray":
        return false
    }
  }

  return {
    push: (piece) => {
      pending += piece
      while (step(false));
    },
    end: () => {
      if (suffix !== "" && state.is === "text" && pending.endsWith(suffix)) pending = pending.slice(0, -suffix.length)
      while (step(true));
      if (state.is === "thinking") think(pending, state.thinking)
      if (state.is === "stray" && pending !== "") {
        found({ type: "call", call: { rawText: pending, error: state.error } })
      }
      if (state.is === "call") {
        const { close, open } = state.block
        found({
          type: "call",
          call: { rawText: open + pending, error: `${unterminated}: '${open}' opened without a matching '${close}'` }
        })
      }
      pending = ""
    }
  }
}
