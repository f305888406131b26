/**
 * Pre-trains `tinkex/nano` with the engine: every parameter, AdamW, warm-up, a constant rate, and a linear decay at the end.
 *
 *     npx tsx scratchpad/pretrain-nano.ts [--stage 1] [--steps N | --minutes 45] [--decay 0.25] [--peak 0.003] [--text 6] [--windows 8]
 *       [--seed 1] [--dir FOLDER] [--write]
 *
 * Stage 1 starts from seeded weights, stage 2 from those that ship; they differ in the generated documents (`nano-tasks.ts`).
 * Either a number of steps or a time: with a time, the decay begins when all but its part of the time is over, and has its part
 * of the steps. The options with a number of steps decide every bit of the result. With `--write` the weights go to
 * `src/engine/model/nanoWeights.generated.ts` at each evaluation at which the held-out loss is the lowest so far, and at
 * the end. In the folder (default `scratchpad/nano/stage1` and so on): `log.jsonl`, a line each 20 steps and each evaluation, and
 * `loss.svg`.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import * as InProcessEngine from "../src/engine/host/InProcessEngine.js"
import * as Models from "../src/engine/model/Models.js"
import { encodeNanoWeights } from "../src/engine/model/nanoWeights.js"
import { heldOutTasks, heldOutText, taskWindow, trainingText, type Window } from "./nano-data.js"
import { datumOf } from "./nano-model.js"
import { seeded, stages } from "./nano-tasks.js"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "45" },
    steps: { type: "string" },
    windows: { type: "string", default: "8" },
    peak: { type: "string", default: "0.003" },
    seed: { type: "string", default: "1" },
    stage: { type: "string", default: "1" },
    text: { type: "string", default: "6" },
    decay: { type: "string", default: "0.25" },
    dir: { type: "string" },
    write: { type: "boolean", default: false }
  }
})
const full = 1 - Number(values.decay)
const windows = Number(values.windows)
const peak = Number(values.peak)
const seed = Number(values.seed)
const stage = Number(values.stage)
const dir = values.dir ?? `scratchpad/nano/stage${stage}`
const mix = stages[stage - 1]
if (mix === undefined) {
  throw new Error(`--stage is ${values.stage}: it must be 1 to ${stages.length}`)
}

const length = 256
/** Of the windows of a batch, how many of ten are text; the others are generated. */
const textOfTen = Number(values.text)
const warmUp = 100
const settings = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, gradClipNorm: 1 }
/** The last rate as a part of the peak. */
const lowest = 0.02

const log = (line: Readonly<Record<string, number | string>>) => {
  Fs.appendFileSync(Path.join(dir, "log.jsonl"), `${JSON.stringify(line)}\n`)
  console.log(JSON.stringify(line))
}

/** The loss of the log as a picture. */
const plot = () => {
  const lines: ReadonlyArray<Record<string, number>> = Fs.readFileSync(Path.join(dir, "log.jsonl"), "utf8")
    .trim().split("\n").map((line) => JSON.parse(line))
  const last = Math.max(...lines.map((line) => line["step"] ?? 0))
  const x = (step: number) => 50 + 630 * step / last
  const y = (loss: number) => 20 + 320 * (1 - Math.min(Math.max(loss, 0), 6) / 6)
  const curve = (key: string, colour: string) => {
    const points = lines.flatMap((line) =>
      line[key] === undefined ? [] : [`${x(line["step"]!).toFixed(1)},${y(line[key]).toFixed(1)}`]
    )
    return `<polyline fill="none" stroke="${colour}" points="${points.join(" ")}"/>`
  }
  const ticks = [0, 1, 2, 3, 4, 5, 6].map((loss) =>
    `<path stroke="#ddd" d="M50 ${y(loss)}H680"/><text x="40" y="${y(loss) + 4}" text-anchor="end">${loss}</text>`
  )
  Fs.writeFileSync(
    Path.join(dir, "loss.svg"),
    `<svg xmlns="http://www.w3.org/2000/svg" width="700" height="380" font-family="sans-serif" font-size="12">
<rect width="700" height="380" fill="#fff"/>
${ticks.join("\n")}
<text x="50" y="360">step 0</text><text x="680" y="360" text-anchor="end">step ${last}</text>
<text x="200" y="360" fill="#888">training batch</text><text x="320" y="360" fill="#06c">held-out text</text><text x="440" y="360" fill="#c40">held-out tasks</text>
${curve("loss", "#888")}
${curve("text", "#06c")}
${curve("tasks", "#c40")}
</svg>
`
  )
}

Fs.mkdirSync(dir, { recursive: true })
Fs.rmSync(Path.join(dir, "log.jsonl"), { force: true })

const text = trainingText(length)
const textOut = heldOutText(length)
const tasksOut = heldOutTasks(32, length)
// A part for the evaluations on the way; all of it at the end
const textSample = textOut.filter((_, i) => i % 6 === 0)
const random = seeded(seed)
let order: ReadonlyArray<Window> = []
let taken = 0
let epochs = 0
const nextText = (): Window => {
  if (taken === order.length) {
    order = random.shuffle(text)
    taken = 0
    epochs++
  }
  return order[taken++]!
}
let share = 0
const nextBatch = (): ReadonlyArray<Window> =>
  Array.from({ length: windows }, () => {
    share = (share + textOfTen) % 10
    return share < textOfTen ? nextText() : taskWindow(random, mix, length)
  })

const program = Effect.gen(function*() {
  const engine = yield* InProcessEngine.make({
    models: [stage === 1 ? { ...Models.nano, weights: { seed: BigInt(seed) } } : Models.nano]
  })
  yield* engine.createRun("nano", { baseModel: "tinkex/nano", lora: null })

  /** Mean loss per token of a batch. */
  const pass = (batch: ReadonlyArray<Window>, backward: boolean) => {
    const tokens = batch.reduce((sum, window) => sum + window.length - 1, 0)
    return Effect.map(
      engine.pass("nano", {
        data: batch.map((window) => datumOf(window, 1 / tokens)),
        lossFn: "cross_entropy",
        lossConfig: {},
        backward
      }),
      ({ loss }) => loss
    )
  }

  const write = Effect.map(engine.exportRun("nano", { optimizer: false }), ({ weights }) => {
    const flat = new Float32Array(weights.reduce((sum, { data }) => sum + data.length, 0))
    let at = 0
    for (const { data } of weights) {
      flat.set(data, at)
      at += data.length
    }
    const { base64, crc32 } = encodeNanoWeights(flat)
    Fs.writeFileSync(
      "src/engine/model/nanoWeights.generated.ts",
      `// Written by scratchpad/pretrain-nano.ts; do not edit.\nexport const crc32: number = ${crc32}\n\nexport const base64: string =\n  "${base64}"\n`
    )
  })

  log({ stage, windows, length, peak, textOfTen, seed, trainingWindows: text.length, heldOutWindows: textOut.length })
  const started = performance.now()
  const minutes = () => (performance.now() - started) / 60_000
  let steps = values.steps === undefined ? Infinity : Number(values.steps)
  /** The last step at the full rate. */
  let constant = Math.floor(full * steps)
  let best = Infinity
  let mean = 0

  for (let step = 1; step <= steps; step++) {
    if (steps === Infinity && minutes() > full * Number(values.minutes)) {
      constant = step
      steps = Math.ceil(step / full)
    }
    const rate = peak *
      (step <= constant ? Math.min(step / warmUp, 1) : lowest + (1 - lowest) * (steps - step) / (steps - constant))
    mean += (yield* pass(nextBatch(), true)) / 20
    const { gradNorm } = yield* engine.optimStep("nano", { ...settings, learningRate: rate })
    if (step % 20 === 0) {
      log({
        step,
        loss: Number(mean.toFixed(4)),
        gradNorm: Number(gradNorm.toFixed(3)),
        rate: Number(rate.toPrecision(4)),
        epoch: Number((epochs - 1 + taken / text.length).toFixed(2)),
        tokensPerSecond: Math.round(step * windows * length / (60 * minutes())),
        minutes: Number(minutes().toFixed(2))
      })
      mean = 0
    }
    if (step % 250 === 0 && step < steps) {
      const held = yield* pass(textSample, false)
      log({ step, text: Number(held.toFixed(4)), tasks: Number((yield* pass(tasksOut, false)).toFixed(4)) })
      plot()
      if (held < best) {
        best = held
        if (values.write) yield* write
      }
    }
  }
  log({
    step: steps,
    text: Number((yield* pass(textOut, false)).toFixed(4)),
    tasks: Number((yield* pass(tasksOut, false)).toFixed(4)),
    minutes: Number(minutes().toFixed(2))
  })
  plot()
  if (values.write) yield* write
})

await Effect.runPromise(Effect.scoped(program))
