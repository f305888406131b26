/** What importing the package costs a program, in a process of its own each time. */
import { execFileSync } from "node:child_process"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { Row } from "./Row.js"

const root = fileURLToPath(new URL("../..", import.meta.url))

const importMs = (specifier: string): number => {
  const program = `const started = performance.now(); await import(${JSON.stringify(specifier)}); `
    + "process.stdout.write(String(performance.now() - started))"
  const times = Array.from(
    { length: 5 },
    () =>
      Number(execFileSync(process.execPath, ["--input-type=module", "-e", program], { cwd: root, encoding: "utf8" }))
  )
  return times.toSorted((a, b) => a - b)[2] ?? NaN
}

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const built = (name: string) => pathToFileURL(`${root}/dist/${name}.js`).href
  return ([
    ["effect", "effect"],
    ["tinkex", built("index")],
    ["tinkex/TrainingClient alone", built("client/TrainingClient")],
    ["tinkex/LocalTinkex", built("LocalTinkex")]
  ] as const).map(([name, specifier]) => ({
    name: `import of ${name}`,
    value: importMs(specifier),
    unit: "ms",
    target: null,
    better: "lower"
  }))
}
