/**
 * How long `tinkex` takes to start, against a bare program with @effect/cli: `version`, `--help`, and a command that asks a
 * server. Runs alternate, and the best of each counts: the machine is shared.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Row } from "./Row.js"

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const bare = [file("./fixtures/bareCli.mjs"), "version"]
const tinkex = file("../../bin/tinkex.js")
const rounds = 12

const time = (args: ReadonlyArray<string>, expected: number): number => {
  const started = performance.now()
  const { status, stderr } = spawnSync(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] })
  const millis = performance.now() - started
  if (status !== expected) throw new Error(`${args.join(" ")} ended with ${status}: ${String(stderr)}`)
  if (expected === 1 && !String(stderr).includes("baseUrl")) throw new Error(String(stderr))
  return millis
}

export const rows = (): Promise<ReadonlyArray<Row>> => {
  const programs = {
    bare,
    version: [tinkex, "version"],
    help: [tinkex, "--help"],
    // nothing listens there: all that a command loads, without waiting for a server
    list: [tinkex, "run", "list", "--base-url", "not a url"]
  }
  const best = { bare: Infinity, version: Infinity, help: Infinity, list: Infinity }
  for (let round = 0; round < rounds; round++) {
    for (const [name, args] of Object.entries(programs)) {
      const key = name as keyof typeof best // its own keys
      best[key] = Math.min(best[key], time(args, key === "list" ? 1 : 0))
    }
  }
  const ratio = (key: keyof typeof best) => best[key] / best.bare
  return Promise.resolve([
    {
      name: "start of tinkex version / bare @effect/cli",
      value: ratio("version"),
      unit: "x",
      target: 1.5,
      better: "lower"
    },
    {
      name: "start of tinkex --help / bare @effect/cli",
      value: ratio("help"),
      unit: "x",
      target: 1.5,
      better: "lower"
    },
    { name: "start of a command with a client / bare", value: ratio("list"), unit: "x", target: null, better: "lower" },
    { name: "start of a bare @effect/cli program", value: best.bare, unit: "ms", target: null, better: "lower" }
  ])
}
