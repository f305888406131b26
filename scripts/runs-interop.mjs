// `node scripts/runs-interop.mjs`: runs and Python. The official cookbook goes on with a run of ours, we go on with a run of its
// own, and both come to the weights of a run that was never handed over; the cookbook, TensorBoard, tbparse and trackio read our
// files. Nightly: the packages (test/interop/runs-requirements.txt) bring torch along. `TINKEX_PYTHON` names a Python that has them.
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Effect, Layer } from "effect"
import assert from "node:assert/strict"
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { root } from "./rooms.mjs"

const { Datum, Dataset, MetricSink, Run, ServiceClient } = await import("../dist/index.js")
const NodeTinkex = await import("../dist/NodeTinkex.js")
const Tokenizers = await import("../dist/tokenizer/Tokenizers.js")

const pythonOf = () => {
  if (process.env.TINKEX_PYTHON !== undefined) return process.env.TINKEX_PYTHON
  const venv = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "tinkex", "interop-runs")
  const python = join(venv, process.platform === "win32" ? "Scripts" : "bin", "python")
  if (!existsSync(join(venv, ".ready"))) {
    mkdirSync(venv, { recursive: true })
    const made = spawnSync("python3", ["-m", "venv", venv], { stdio: "inherit" })
    const requirements = join(root, "test/interop/runs-requirements.txt")
    if (
      made.status !== 0 ||
      spawnSync(python, ["-m", "pip", "install", "-q", "-r", requirements], { stdio: "inherit" }).status !== 0
    ) {
      console.log("runs interop skipped: no Python, or no package index that has the packages")
      process.exit(0)
    }
    writeFileSync(join(venv, ".ready"), "")
  }
  return python
}

const python = pythonOf()
const py = (...args) =>
  new Promise((resolve, reject) => {
    const child = spawn(python, [join(root, "test/interop/runs.py"), ...args], {
      cwd: folder,
      env: { ...process.env, HF_HUB_OFFLINE: "1", HOME: folder, PYTHONWARNINGS: "ignore" },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let out = ""
    let err = ""
    child.stdout.on("data", (piece) => (out += piece))
    child.stderr.on("data", (piece) => (err += piece))
    child.on("close", (code) =>
      code === 0 ? resolve(out) : reject(new Error(`runs.py ${args[0]} ended with ${code}: ${err.slice(-3000)}`)))
  })
const read = async (directory) => JSON.parse((await py("read", directory)).split("@@")[1])

const folder = mkdtempSync(join(tmpdir(), "tinkex-runs-"))
// the cookbook loads tokenizers by name; a folder of that name serves it without a hub
const { tokenizerConfigJson, tokenizerJson } = await import("../dist/tokenizer/internal/nanoTokenizer.generated.js")
mkdirSync(join(folder, "tinkex/nano-random"), { recursive: true })
writeFileSync(join(folder, "tinkex/nano-random", "tokenizer.json"), tokenizerJson)
writeFileSync(join(folder, "tinkex/nano-random", "tokenizer_config.json"), tokenizerConfigJson)
const server = spawn(process.execPath, [
  join(root, "bin/tinkex.js"),
  "serve",
  "--port",
  "0",
  "--data-dir",
  join(folder, "data")
], {
  stdio: ["ignore", "pipe", "inherit"]
})
const url = await new Promise((resolve, reject) => {
  let text = ""
  server.stdout.on("data", (piece) => {
    const match = /listening on (http:\S+)/.exec(text += piece)
    if (match !== null) resolve(match[1])
  })
  server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)))
})

/** The data of runs.py: eight examples, two a batch, in their order. */
const train = (directory, epochs) =>
  Effect.runPromise(
    Effect.gen(function*() {
      const examples = Array.from({ length: 8 }, (_, i) => Datum.fromCompletion([1 + i, 2], [3 + i, 4, 5]))
      const batches = yield* Dataset.fromArray(examples, { batchSize: 2, shuffle: false })
      const run = yield* Run.open(directory, {
        config: { baseModel: "tinkex/nano-random", rank: 4 },
        sinks: [MetricSink.csv(), MetricSink.tensorBoard()]
      })
      yield* run.train({ batches, epochs, loss: "cross_entropy", adam: { learningRate: 1e-2, eps: 1e-8 } })
    }).pipe(
      Effect.scoped,
      Effect.provide(ServiceClient.layer({ baseUrl: url, apiKey: "tml-interop" })),
      Effect.provide(
        Layer.merge(NodeTinkex.layerShared({ metrics: false, tokenizers: Tokenizers.layer }), NodeContext.layer)
      )
    )
  )
const rows = (directory) =>
  readFileSync(join(directory, "metrics.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line))
const close = (actual, expected, what) => {
  assert.deepEqual(actual.map(({ step }) => step), expected.map(({ step }) => step), what)
  actual.forEach((row, i) => {
    const difference = Math.abs(row.train_mean_nll - expected[i].train_mean_nll)
    // the cookbook adds up in float32
    assert.ok(difference <= 1e-5 * expected[i].train_mean_nll, `${what}, step ${row.step}: ${difference}`)
  })
}

try {
  const whole = join(folder, "whole")
  await train(whole, 2)

  const ours = join(folder, "ours")
  await train(ours, 1)
  const before = await read(ours)
  assert.deepEqual(before.steps, [0, 1, 2, 3])
  for (const tool of ["tensorboard", "tbparse", "trackio"]) assert.deepEqual(before[tool], [0, 1, 2, 3], tool)
  assert.equal(before.config.model_name, "tinkex/nano-random")
  assert.deepEqual([before.checkpoint.name, before.checkpoint.epoch, before.checkpoint.batch], ["final", 1, 0])
  console.log("read by the cookbook, TensorBoard, tbparse and trackio: ok")
  await py("train", ours, url, "2")
  close(rows(ours), rows(whole), "a run of ours, gone on with by the cookbook")
  console.log("a run of ours, gone on with by the cookbook: ok")
  await train(ours, 3)
  assert.deepEqual(rows(ours).map(({ step }) => step), Array.from({ length: 12 }, (_, step) => step))
  console.log("and back again: ok")

  const theirs = join(folder, "theirs")
  await py("train", theirs, url, "1")
  const theirRows = rows(theirs)
  assert.equal(theirRows.length, 4)
  await train(theirs, 2)
  // its adapter begins with a seed of its own: what was before stays, what follows goes on
  assert.deepEqual(rows(theirs).slice(0, 4), theirRows)
  assert.deepEqual(rows(theirs).map(({ step }) => step), [0, 1, 2, 3, 4, 5, 6, 7])
  assert.ok(rows(theirs)[4].train_mean_nll < theirRows[0].train_mean_nll)
  console.log("a run of the cookbook, gone on with by us: ok")
} finally {
  server.removeAllListeners("exit")
  server.kill("SIGTERM")
  rmSync(folder, { recursive: true, force: true })
}
