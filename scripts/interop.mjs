// `npm run test:interop [-- --newest] [-- --update]`: runs the official Python SDK against `tinkex serve`.
//
// Makes a virtual environment, cached outside the clone by the pinned version, starts the built server, lets
// test/interop/matrix.py try every public method and command, and holds the outcome against docs/compatibility.md
// (--update writes it). Skips, and says so, only where no Python or no package index can be reached.
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { root } from "./rooms.mjs"

const newest = process.argv.includes("--newest")
const update = process.argv.includes("--update")
const pinned = readFileSync(join(root, "test/interop/requirements.txt"), "utf8").trim()
const wanted = newest ? "tinker" : pinned

const skip = (reason) => {
  console.log(`interop skipped: ${reason}`)
  console.log("0 passed, 0 failed, 1 skipped")
  process.exit(0)
}

const python = ["python3", "python"].find((name) => spawnSync(name, ["--version"]).status === 0)
if (python === undefined) skip("there is no Python on this machine")

const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "tinkex", "interop")
const venv = join(cache, newest ? "newest" : pinned.replace(/[^\w.]+/g, "-"))
const bin = (name) => join(venv, process.platform === "win32" ? "Scripts" : "bin", name)
const ready = join(venv, ".ready")
if (newest || !existsSync(ready)) {
  rmSync(venv, { recursive: true, force: true })
  mkdirSync(cache, { recursive: true })
  console.log(`making ${wanted} in ${venv} …`)
  if (spawnSync(python, ["-m", "venv", venv], { stdio: "inherit" }).status !== 0) {
    skip("no virtual environment can be made")
  }
  const installed = spawnSync(bin("python"), ["-m", "pip", "install", "--quiet", wanted], { stdio: "inherit" })
  if (installed.status !== 0) {
    rmSync(venv, { recursive: true, force: true })
    skip(`no Python package index that has ${wanted} can be reached`)
  }
  writeFileSync(ready, wanted)
}

const folder = mkdtempSync(join(tmpdir(), "tinkex-interop-"))
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
const address = new Promise((resolve, reject) => {
  let text = ""
  server.stdout.on("data", (chunk) => {
    text += chunk
    const match = /listening on (http:\/\/\S+)/.exec(text)
    if (match !== null) resolve(match[1])
  })
  server.once("exit", (code) => reject(new Error(`the server ended with ${code} before it was ready`)))
})

const stop = () =>
  new Promise((resolve) => {
    server.removeAllListeners("exit")
    server.once("exit", resolve)
    server.kill("SIGTERM")
  })

let failures = []
let passed = 0
try {
  const baseUrl = await address
  // The SDK loads tokenizers by name; a folder of that name in the working directory serves it without a hub.
  const { tokenizerConfigJson, tokenizerJson } = await import("../dist/tokenizer/internal/nanoTokenizer.generated.js")
  for (const name of ["tinkex/nano", "tinkex/nano-random"]) {
    mkdirSync(join(folder, name), { recursive: true })
    writeFileSync(join(folder, name, "tokenizer.json"), tokenizerJson)
    writeFileSync(join(folder, name, "tokenizer_config.json"), tokenizerConfigJson)
  }
  const out = join(folder, "matrix.json")
  const done = await new Promise((resolve) => {
    const child = spawn(bin("python"), [join(root, "test/interop/matrix.py"), out], {
      cwd: folder,
      env: {
        ...process.env,
        TINKER_BASE_URL: baseUrl,
        TINKER_API_KEY: "tml-interop",
        HF_HUB_OFFLINE: "1",
        HOME: folder,
        PYTHONWARNINGS: "ignore"
      },
      stdio: "inherit"
    })
    child.once("exit", resolve)
  })
  if (done !== 0 || !existsSync(out)) throw new Error(`the matrix ended with ${done}`)
  const { rows, sdk } = JSON.parse(readFileSync(out, "utf8"))
  failures = rows.filter(({ status }) => status === "fails" || status === "untested")
  passed = rows.length - failures.length
  const sensible = rows.filter(({ status }) => status !== "not applicable")
  const works = sensible.filter(({ status }) => status === "works").length
  const share = works / sensible.length
  const markdown = compatibility(sdk, rows, works, sensible.length)
  const file = join(root, "docs/compatibility.md")
  if (update) writeFileSync(file, markdown)
  else if (!newest && (!existsSync(file) || readFileSync(file, "utf8") !== markdown)) {
    failures.push({ group: "docs/compatibility.md", name: "is stale; run: npm run test:interop -- --update" })
  }
  if (share < 0.9) failures.push({ group: "share", name: `only ${(100 * share).toFixed(1)} % of the methods work` })
  console.log(`SDK ${sdk}: ${works} of ${sensible.length} work (${(100 * share).toFixed(1)} %)`)
  if (newest && `tinker==${sdk}` !== pinned) {
    console.log(`drift: the newest is ${sdk}, pinned is ${pinned}; ${failures.length} rows differ`)
  }
  const parity = await wireParity()
  passed += parity.passed
  failures.push(...parity.failures)
} finally {
  await stop()
  rmSync(folder, { recursive: true, force: true })
}
for (const { group, name, note, status } of failures) console.log(`FAIL ${group} ${name} ${status ?? ""} ${note ?? ""}`)
console.log(`${passed} passed, ${failures.length} failed`)
process.exit(failures.length === 0 ? 0 : 1)

/** The same program through the SDK and through tinkex; docs/wire-parity.md lists and explains what differs. */
async function wireParity() {
  const child = spawn(process.execPath, [
    "--import",
    "tsx",
    join(root, "test/interop/parity/record.ts"),
    bin("python"),
    ...(update ? ["--update"] : []),
    ...(newest ? ["--newest"] : [])
  ], { cwd: root, stdio: ["ignore", "pipe", "inherit"] })
  let text = ""
  child.stdout.on("data", (chunk) => {
    text += chunk
    process.stdout.write(chunk)
  })
  const code = await new Promise((resolve) => child.once("exit", resolve))
  const [, requests] = /^wire parity: (\d+) requests/m.exec(text) ?? []
  const found = [...text.matchAll(/^FAIL wire parity: (.*)$/gm)].map(([, name]) => ({ group: "wire parity", name }))
  if (requests === undefined || (code !== 0 && found.length === 0)) {
    found.push({ group: "wire parity", name: `the program ended with ${code}` })
  }
  return { passed: Math.max(0, Number(requests ?? 0) - found.length), failures: found }
}

function compatibility(sdk, rows, works, sensible) {
  const groups = [...new Set(rows.map(({ group }) => group))]
  const table = (group) =>
    `## ${group}\n\n| method | outcome | note |\n| --- | --- | --- |\n`
    + rows.filter((row) => row.group === group)
      .map(({ name, note, status }) => `| \`${name}\` | ${status} | ${status === "not applicable" ? note : ""} |\n`)
      .join("")
  return `# Compatibility with the official Python SDK

Generated by \`npm run test:interop -- --update\`; do not edit. The official SDK, version ${sdk}, was run against
\`tinkex serve\`: every public method of its clients, found by reflection, and its command line.
${works} of ${sensible} that make sense without a cloud account work.

${groups.map(table).join("\n")}`
}
