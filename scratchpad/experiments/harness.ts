/**
 * What the experiments here share: a grid of settings, each run once with a seed, every result a line of JSON, resumed where
 * a run was cut off, and a plot at the end.
 *
 * `--quick` runs a small grid for a few steps; results of quick runs are kept apart. `--out DIR` says where results go.
 */
import { FileSystem, Path } from "@effect/platform"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, type Scope } from "effect"
import { PlotSvg, type ServiceClient } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

export interface Experiment<Setting extends string | number> {
  readonly name: string
  readonly grid: ReadonlyArray<Setting>
  readonly quickGrid: ReadonlyArray<Setting>
  readonly steps: number
  readonly quickSteps: number
  readonly axes: { readonly x: string; readonly y: string }
  /** A curve for a setting, a value a step. */
  readonly run: (
    setting: Setting,
    options: { readonly steps: number; readonly seed: number }
  ) => Effect.Effect<ReadonlyArray<number>, unknown, ServiceClient.ServiceClient | Scope.Scope>
}

interface Line {
  readonly setting: string | number
  readonly seed: number
  readonly steps: number
  readonly curve: ReadonlyArray<number>
}

const seed = 1

export const runExperiment = <Setting extends string | number>(experiment: Experiment<Setting>): void => {
  const quick = process.argv.includes("--quick")
  const at = process.argv.indexOf("--out")
  const program = Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const folder = path.resolve(at === -1 ? ".tinkex/experiments" : process.argv[at + 1] ?? ".")
    const base = path.join(folder, `${experiment.name}${quick ? "-quick" : ""}`)
    yield* files.makeDirectory(folder, { recursive: true })
    const steps = quick ? experiment.quickSteps : experiment.steps
    const text = (yield* files.exists(`${base}.jsonl`)) ? yield* files.readFileString(`${base}.jsonl`) : ""
    // A line that was cut off is run again
    const lines = text.split("\n").slice(0, -1).flatMap((line): ReadonlyArray<Line> => [JSON.parse(line)])
    const done = new Map(
      lines.filter((line) => line.steps === steps && line.seed === seed).map((line) => [line.setting, line])
    )
    yield* files.writeFileString(`${base}.jsonl`, lines.map((line) => `${JSON.stringify(line)}\n`).join(""))
    for (const setting of quick ? experiment.quickGrid : experiment.grid) {
      const old = done.get(setting)
      if (old !== undefined) {
        yield* Effect.log(`${setting}: kept from an earlier run`)
        continue
      }
      const curve = yield* Effect.scoped(experiment.run(setting, { steps, seed }))
      const line: Line = { setting, seed, steps, curve }
      done.set(setting, line)
      yield* files.writeFileString(`${base}.jsonl`, `${JSON.stringify(line)}\n`, { flag: "a" })
      yield* Effect.log(`${setting}: ${curve[0]?.toFixed(3)} -> ${curve[curve.length - 1]?.toFixed(3)}`)
    }
    const svg = PlotSvg.linePlot(
      Array.from(done.values(), ({ curve, setting }) => ({
        name: String(setting),
        points: curve.map((y, x): readonly [number, number] => [x + 1, y])
      })),
      { title: experiment.name, xLabel: experiment.axes.x, yLabel: experiment.axes.y }
    )
    yield* files.writeFileString(`${base}.svg`, svg)
    yield* Effect.log(`${base}.jsonl, ${base}.svg`)
  })
  program.pipe(Effect.provide(LocalTinkex.layer()), Effect.provide(NodeContext.layer), NodeRuntime.runMain)
}
