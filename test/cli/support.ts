/** The built command line, run as users run it. */
import { assert } from "@effect/vitest"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export const binary = fileURLToPath(new URL("../../bin/tinkex.js", import.meta.url))

export interface Done {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const environment = (env: Readonly<Record<string, string>>) => {
  // nothing of whoever runs the tests
  const { TINKER_API_KEY: _key, TINKER_BASE_URL: _url, ...rest } = process.env
  return { ...rest, ...env }
}

export interface Running {
  readonly child: ChildProcess
  readonly done: Promise<Done>
  readonly out: () => string
  readonly err: () => string
}

export const start = (
  args: ReadonlyArray<string>,
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string; readonly input?: string } = {}
): Running => {
  const child = spawn(process.execPath, [binary, ...args], {
    cwd: options.cwd,
    env: environment(options.env ?? {}),
    stdio: ["pipe", "pipe", "pipe"]
  })
  let out = ""
  let err = ""
  child.stdout.on("data", (piece) => out += String(piece))
  child.stderr.on("data", (piece) => err += String(piece))
  child.stdin.end(options.input ?? "")
  const done = once(child, "close").then(([code]) => ({ code: code as number | null, out, err }))
  return { child, done, out: () => out, err: () => err }
}

export const run = (args: ReadonlyArray<string>, options?: Parameters<typeof start>[1]): Promise<Done> =>
  start(args, options).done

/** A command that succeeds and prints JSON. */
export const json = async (args: ReadonlyArray<string>, options?: Parameters<typeof start>[1]): Promise<unknown> => {
  const { code, err, out } = await run([...args, "--json"], options)
  assert.strictEqual(code, 0, err)
  return JSON.parse(out)
}

/** Resolves once the program has written what is looked for. */
export const seen = (running: Running, pattern: RegExp): Promise<RegExpExecArray> =>
  new Promise((resolve, reject) => {
    const look = () => {
      const match = pattern.exec(running.out()) ?? pattern.exec(running.err())
      if (match === null) return
      running.child.stdout?.off("data", look)
      running.child.stderr?.off("data", look)
      resolve(match)
    }
    running.child.stdout?.on("data", look)
    running.child.stderr?.on("data", look)
    void running.done.then(({ code, err }) => reject(new Error(`ended with ${code} before ${pattern}: ${err}`)))
    look()
  })

export interface Server {
  readonly url: string
  readonly running: Running
  readonly stop: () => Promise<Done>
}

export const serve = (...args: ReadonlyArray<string>): Promise<Server> => serveIn({}, ...args)

/** A server with variables of the environment. */
export const serveIn = async (
  env: Readonly<Record<string, string>>,
  ...args: ReadonlyArray<string>
): Promise<Server> => {
  const running = start(["serve", "--port", "0", ...args], { env })
  const match = await seen(running, /listening on (http:\S+)/)
  return {
    url: match[1] ?? "",
    running,
    stop: () => {
      running.child.kill("SIGINT")
      return running.done
    }
  }
}

export const temporary = (): { readonly path: string; readonly remove: () => void } => {
  const path = mkdtempSync(join(tmpdir(), "tinkex-cli-"))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}
