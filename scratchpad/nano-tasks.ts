/**
 * The generated part of the pre-training data of `tinkex/nano`: additions and subtractions of small numbers, counting, copying,
 * and questions with short answers. Everything is drawn from a seeded generator.
 *
 * A few sums of one-digit numbers are held out: no document states one of them, in either order, in digits or words, as a sum or
 * as a difference of the same three numbers. Sums with a number of two digits cover all units (13 + 5 = 18), so what is measured
 * is whether the model carries what it learnt there over to sums that it never saw.
 */
export interface Random {
  /** Uniform in [0, 1). */
  readonly next: () => number
  /** Uniform in 0 .. n - 1. */
  readonly below: (n: number) => number
  readonly pick: <A>(items: ReadonlyArray<A>) => A
  readonly shuffle: <A>(items: ReadonlyArray<A>) => ReadonlyArray<A>
}

/** mulberry32: 32 bits of state, enough for shuffling a corpus. */
export const seeded = (seed: number): Random => {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (n: number) => Math.floor(next() * n)
  const at = <A>(items: ReadonlyArray<A>, i: number): A => {
    const item = items[i]
    if (item === undefined) {
      throw new Error(`no item ${i} in a list of ${items.length}`)
    }
    return item
  }
  return {
    next,
    below,
    pick: (items) => at(items, below(items.length)),
    shuffle: <A>(items: ReadonlyArray<A>) => {
      const order = items.map((item) => ({ key: next(), item }))
      return order.toSorted((x, y) => x.key - y.key).map(({ item }) => item)
    }
  }
}

/** The sums of one-digit numbers that are never taught; each stands for both orders, so 20 of the 100 sums are untaught. */
export const heldOut: ReadonlyArray<readonly [number, number]> = [
  [1, 6],
  [2, 3],
  [2, 7],
  [3, 5],
  [3, 8],
  [4, 6],
  [4, 9],
  [5, 7],
  [6, 8],
  [7, 9]
]

export const isHeldOut = (a: number, b: number): boolean =>
  heldOut.some(([x, y]) => (x === a && y === b) || (x === b && y === a))

const names =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    .split(" ")
const word = (n: number): string => names[n] ?? String(n)

/** A taught sum of one-digit numbers. */
const sum = (random: Random): readonly [number, number] => {
  for (;;) {
    const a = random.below(10)
    const b = random.below(10)
    if (!isHeldOut(a, b)) {
      return [a, b]
    }
  }
}

type Task = (random: Random) => string

const lines = (random: Random, most: number, line: Task): string =>
  Array.from({ length: 1 + random.below(most) }, () => line(random)).join("\n")

const things = "apples pears cats dogs birds books cups hats stones coins fish horses eggs boats trees keys".split(" ")
const people = "Emma Tom Anne John Mary Peter Jane Henry Alice David Ruth Mark".split(" ")

const equation = (a: number, b: number): string => `${a} + ${b} = ${a + b}`

const additions: ReadonlyArray<(a: number, b: number, random: Random) => string> = [
  (a, b) => `${a} plus ${b} is ${a + b}.`,
  (a, b) => `Question: What is ${a} + ${b}?\nAnswer: ${a + b}`,
  (a, b) => `Question: What is ${a} plus ${b}?\nAnswer: ${a + b}`,
  (a, b) => `<|im_start|>user\nWhat is ${a} + ${b}?<|im_end|>\n<|im_start|>assistant\n${a + b}<|im_end|>`,
  (a, b) => `The sum of ${word(a)} and ${word(b)} is ${word(a + b)}.`,
  (a, b, random) => {
    const name = random.pick(people)
    const thing = random.pick(things)
    return `${name} has ${a} ${thing} and finds ${b} more. Now ${name} has ${a + b} ${thing}.`
  }
]

/** Sums of one-digit numbers: so many parts of the documents are equations, of up to so many lines; six are of other forms. */
const addition = (equations: number, equationLines: number): Task => {
  const forms = [...Array.from({ length: equations }, () => equation), ...additions]
  return (random) => {
    // One form a document, so that the form predicts itself and the answer alone is to be learnt
    const form = random.pick(forms)
    return lines(random, form === equation ? equationLines : 8, () => {
      const [a, b] = sum(random)
      return form(a, b, random)
    })
  }
}

const subtraction: Task = (random) => {
  const form = random.pick([
    (c: number, a: number) => `${c} - ${a} = ${c - a}`,
    (c: number, a: number) => `Question: What is ${c} - ${a}?\nAnswer: ${c - a}`,
    (c: number, a: number) => `${c} minus ${a} is ${c - a}.`
  ])
  return lines(random, 6, () => {
    const [a, b] = sum(random)
    return form(a + b, a)
  })
}

/** A number of two digits and one of one digit, whose units are no held-out pair. */
const taughtUnits: Task = (random) =>
  lines(random, 6, () => {
    for (;;) {
      const a = 10 + random.below(90)
      const b = random.below(10)
      if (!isHeldOut(a % 10, b)) {
        return `${a} + ${b} = ${a + b}`
      }
    }
  })

/** A number of two digits and one of one digit, in either order and any units. */
const anyUnits: Task = (random) => {
  const form = random.pick([
    (a: number, b: number) => `${a} + ${b} = ${a + b}`,
    (a: number, b: number) => `${a} + ${b} = ${a + b}`,
    (a: number, b: number) => `${a} plus ${b} is ${a + b}.`,
    (a: number, b: number) => `Question: What is ${a} + ${b}?\nAnswer: ${a + b}`
  ])
  return lines(random, 12, () => {
    const a = 10 + random.below(90)
    const b = random.below(10)
    return random.below(4) === 0 ? form(b, a) : form(a, b)
  })
}

const counting: Task = (random) => {
  const from = random.below(12)
  const length = 4 + random.below(12)
  const run = Array.from({ length }, (_, i) => from + i)
  switch (random.below(5)) {
    case 0:
      return run.join(", ")
    case 1:
      return run.toReversed().join(", ")
    case 2:
      return run.slice(0, 8).map((n) => `After ${n} comes ${n + 1}.`).join(" ")
    case 3:
      return run.slice(0, 8).map((n) => `Before ${n + 1} comes ${n}.`).join(" ")
    default:
      return run.filter((n) => n < names.length).map(word).join(", ")
  }
}

const comparison: Task = (random) =>
  lines(random, 6, () => {
    const a = random.below(20)
    const b = (a + 1 + random.below(18)) % 20
    return `Which is more, ${a} or ${b}? ${Math.max(a, b)}`
  })

const words =
  ("time year people way day man thing woman life child world school state family hand part place case week work " +
    "night point home water room mother area money story fact month lot right study book eye job word side kind head house " +
    "friend father power hour game line end member law car city name team minute idea body back face door art war history " +
    "party morning reason girl boy moment air teacher force red blue green gold stone river wind rain snow fire leaf bird")
    .split(" ")
const syllables =
  "ba be bi bo bu da de di do du ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu ra re ri ro ru sa se si so su ta te ti to tu"
    .split(" ")

const item: Task = (random) =>
  random.below(4) === 0
    ? Array.from({ length: 2 + random.below(3) }, () => random.pick(syllables)).join("")
    : random.below(4) === 0
    ? String(random.below(1000))
    : random.pick(words)

const copy: Task = (random) => {
  const text = () => Array.from({ length: 1 + random.below(6) }, () => item(random)).join(" ")
  const form = random.pick([
    (x: string) => `Copy: ${x}\n${x}`,
    (x: string) => `Say "${x}". ${x}`,
    (x: string) => `<|im_start|>user\nRepeat: ${x}<|im_end|>\n<|im_start|>assistant\n${x}<|im_end|>`,
    (x: string) => `Question: What is the first word of "${x}"?\nAnswer: ${x.split(" ")[0] ?? x}`,
    (x: string) => `Question: What is the last word of "${x}"?\nAnswer: ${x.split(" ").at(-1) ?? x}`,
    (x: string) => `Reverse: ${x}\n${x.split(" ").toReversed().join(" ")}`
  ])
  return lines(random, 4, () => form(text()))
}

/** Facts as `subject: answer`, each group with the forms in which it is asked. */
const facts: ReadonlyArray<readonly [forms: ReadonlyArray<string>, pairs: string]> = [
  [
    ["What is the capital of $?", "Name the capital of $."],
    "France: Paris, England: London, Italy: Rome, Spain: Madrid, Germany: Berlin, Austria: Vienna, Greece: Athens, Egypt: Cairo, " +
    "Japan: Tokyo, China: Beijing, Russia: Moscow, Ireland: Dublin, Norway: Oslo, Poland: Warsaw, Portugal: Lisbon, Cuba: Havana, " +
    "Peru: Lima, Kenya: Nairobi, Canada: Ottawa, Sweden: Stockholm"
  ],
  [
    ["What is the opposite of $?", "Which word means the contrary of $?"],
    "hot: cold, big: small, up: down, day: night, good: bad, old: new, long: short, fast: slow, rich: poor, high: low, " +
    "open: closed, early: late, light: dark, happy: sad, near: far, first: last, full: empty, wet: dry, strong: weak, left: right"
  ],
  [
    ["What sound does a $ make?", "What does a $ say?"],
    "dog: woof, cat: meow, cow: moo, sheep: baa, duck: quack, horse: neigh, pig: oink, lion: roar, snake: hiss, bee: buzz, frog: croak, hen: cluck"
  ],
  [
    ["What colour is $?", "Tell me the colour of $."],
    "snow: white, grass: green, the sky: blue, blood: red, coal: black, a lemon: yellow, an orange: orange, a plum: purple, a mouse: grey, wood: brown"
  ],
  [
    ["What day comes after $?", "Which day follows $?"],
    "Monday: Tuesday, Tuesday: Wednesday, Wednesday: Thursday, Thursday: Friday, Friday: Saturday, Saturday: Sunday, Sunday: Monday"
  ],
  [
    ["What month comes after $?", "Which month follows $?"],
    "January: February, February: March, March: April, April: May, May: June, June: July, July: August, August: September, " +
    "September: October, October: November, November: December, December: January"
  ],
  [
    ["What is the plural of $?", "What do we call more than one $?"],
    "cat: cats, box: boxes, child: children, man: men, mouse: mice, foot: feet, leaf: leaves, city: cities, tooth: teeth, goose: geese, woman: women, knife: knives"
  ],
  [
    ["How do you write $ as a number?", "Which number is $?"],
    names.map((name, n) => `${name}: ${n}`).join(", ")
  ]
]

/** Questions with their answers. */
export const questions: ReadonlyArray<readonly [question: string, answer: string]> = facts.flatMap(([forms, pairs]) =>
  pairs.split(", ").flatMap((pair) => {
    const [subject = "", answer = ""] = pair.split(": ")
    return forms.map((form) => [form.replace("$", subject), answer] as const)
  })
)

const question: Task = (random) => {
  const form = random.pick([
    (q: string, a: string) => `Question: ${q}\nAnswer: ${a}`,
    (q: string, a: string) => `Question: ${q}\nAnswer: ${a}`,
    (q: string, a: string) => `Q: ${q}\nA: ${a}`,
    (q: string, a: string) => `<|im_start|>user\n${q}<|im_end|>\n<|im_start|>assistant\n${a}<|im_end|>`
  ])
  return lines(random, 4, () => form(...random.pick(questions)))
}

/** Kinds of document with their shares. */
export type Mix = ReadonlyArray<readonly [share: number, task: Task]>

/** What the vocabulary is learnt from, beside the books. */
export const vocabularyMix: Mix = [
  [0.4, addition(3, 8)],
  [0.1, subtraction],
  [0.06, taughtUnits],
  [0.1, counting],
  [0.04, comparison],
  [0.12, copy],
  [0.18, question]
]

/** The first stage of training: what digits, questions and copies are. The taught sums are learnt by heart. */
const firstMix: Mix = [
  [0.4, addition(6, 24)],
  [0.1, subtraction],
  [0.06, taughtUnits],
  [0.1, counting],
  [0.04, comparison],
  [0.12, copy],
  [0.18, question]
]

/** The second stage: many larger sums, so that digits must be added, whatever stands before them. */
const secondMix: Mix = [
  [0.22, addition(6, 12)],
  [0.3, anyUnits],
  [0.08, subtraction],
  [0.06, counting],
  [0.04, comparison],
  [0.14, copy],
  [0.16, question]
]

/** The mix of each stage. */
export const stages: ReadonlyArray<Mix> = [firstMix, secondMix]

/** One generated document. */
export const taskDocument = (random: Random, mix: Mix): string => {
  let draw = random.next()
  for (const [share, task] of mix) {
    if (draw < share) {
      return task(random)
    }
    draw -= share
  }
  return question(random)
}
