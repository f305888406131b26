/**
 * What the package costs before it does anything: importing it, its command's start, and type-checking a program that uses
 * it. Processor time of processes of their own, so that a busy machine does not look like a slow package.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { Row } from "./Row.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const built = (name: string): string => pathToFileURL(join(root, "dist", `${name}.js`)).href

/** Loaded before the program, so that the process tells at its end what it used. */
const told = `data:text/javascript,${
  encodeURIComponent(`import { writeSync } from "node:fs"
process.on("exit", () => {
  const { system, user } = process.cpuUsage()
  writeSync(2, "\\n@cpu " + (user + system) / 1000)
})`)
}`

/** Milliseconds of processor time that Node takes for `args`. */
const cpuMs = (args: ReadonlyArray<string>): number => {
  const { error, status, stderr, stdout } = spawnSync(process.execPath, ["--import", told, ...args], {
    cwd: root,
    encoding: "utf8"
  })
  const value = /@cpu ([\d.]+)/.exec(stderr)?.[1]
  if (status !== 0 || value === undefined) throw new Error(error?.message ?? stdout + stderr)
  return Number(value)
}

/** The least of several runs of each, in turns: what disturbs a run only ever adds to it. */
const least = (runs: number, commands: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<number> => {
  const best = commands.map(() => Infinity)
  for (let run = 0; run < runs; run++) {
    commands.forEach((args, i) => {
      best[i] = Math.min(best[i] ?? Infinity, cpuMs(args))
    })
  }
  return best
}

const importing = (...specifiers: ReadonlyArray<string>): ReadonlyArray<string> => [
  "--input-type=module",
  "-e",
  specifiers.map((specifier) => `await import(${JSON.stringify(specifier)})`).join("\n")
]

const usesPlatform = `import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { Effect } from "effect"

const program = Effect.gen(function*() {
  const client = yield* HttpClient.HttpClient
  const response = yield* client.get("https://example.com")
  yield* Effect.log(yield* response.text)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(FetchHttpClient.layer), Effect.runPromise)
`

/** Processor time of tsc over a program with Effect and platform, and over the program of the README. */
const typeCheck = (): ReadonlyArray<number> => {
  const folder = join(root, "examples", `__bench-${process.pid}`) // where "tinkex" is this package, as built
  const programs = {
    platform: usesPlatform,
    tinkex: /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1] ?? ""
  }
  mkdirSync(folder)
  try {
    return least(
      3,
      Object.entries(programs).map(([name, code]) => {
        writeFileSync(join(folder, `${name}.ts`), code)
        const compilerOptions = {
          target: "ES2022",
          module: "NodeNext",
          moduleResolution: "NodeNext",
          strict: true,
          skipLibCheck: true,
          noEmit: true,
          types: ["node"],
          lib: ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"]
        }
        writeFileSync(join(folder, `${name}.json`), JSON.stringify({ compilerOptions, files: [`${name}.ts`] }))
        return [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", join(folder, `${name}.json`)]
      })
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export const rows = async (): Promise<ReadonlyArray<Row>> => {
  const base = ["effect", "@effect/platform"]
  const [node = NaN, version = NaN, platform = NaN, tinkex = NaN, alone = NaN, local = NaN] = least(5, [
    ["-e", "0"],
    ["bin/tinkex.js", "--version"],
    importing(...base),
    importing(...base, built("index")),
    importing(built("client/TrainingClient")),
    importing(built("LocalTinkex"))
  ])
  const [platformTypes = NaN, tinkexTypes = NaN] = typeCheck()
  const row = (name: string, value: number, unit: string, target: number | null): Row => ({
    name,
    value,
    unit,
    target,
    better: "lower"
  })
  return [
    row("import of effect and platform", platform - node, "ms", null),
    row("import of tinkex beyond effect and platform", tinkex - platform, "ms", 250),
    row("import of tinkex/TrainingClient alone", alone - node, "ms", null),
    row("import of tinkex/LocalTinkex alone", local - node, "ms", null),
    row("tinkex --version against bare node", version / node, "x", 2.5),
    row("type-checking a program against one of effect and platform", tinkexTypes / platformTypes, "x", 1.4)
  ]
}
