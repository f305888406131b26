// `npm run test:runtimes [-- NAME...] [-- --update]`: the package as a stranger gets it, in every runtime that we name: Node 20, 22
// and 24, Deno and Bun (each from its npm package), and a bundle in Chromium (where one is installed). Each trains, with the embedded
// server in its own process where it can and against `tinkex serve` in another. --update writes the table of docs/runtimes.md.
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { root } from "./rooms.mjs"

const args = process.argv.slice(2)
const update = args.includes("--update")
const wanted = args.filter((arg) => !arg.startsWith("--"))

const folder = mkdtempSync(join(tmpdir(), "tinkex-runtimes-"))
const project = join(folder, "project")
const children = new Set()

const run = (cwd, command, ...args) => {
  const done = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    shell: process.platform === "win32"
  })
  if (done.status !== 0) {
    throw new Error(`${command} ${args.join(" ")}\n${done.stdout}${done.stderr}${done.error ?? ""}`)
  }
  return done.stdout
}
const npm = (cwd, ...args) =>
  run(cwd, "npm", ...args, "--no-audit", "--no-fund", "--loglevel=error", "--prefer-offline")

/** Runs a program and gives what it said; the last line of what went wrong if it failed. */
const attempt = (command, args, env = {}) =>
  new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: project,
      env: { ...process.env, NO_COLOR: "1", ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    children.add(child)
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk.toString()))
    const slow = setTimeout(() => child.kill("SIGKILL"), 300_000)
    child.once("error", (error) => (output += String(error)))
    child.once("close", (code) => {
      clearTimeout(slow)
      children.delete(child)
      resolve({ ok: code === 0 && /loss [\d.]+[\s\S]*trained/.test(output), output })
    })
  })

/** Twenty steps on one sentence, and what the model then says. */
const training = (layer, imports, end) =>
  `${imports}
import { Effect, Layer } from "effect"
import { Datum, Future, ServiceClient, Tokenizer } from "tinkex"

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano", rank: 8 })
  const { encode } = Tokenizer.nano
  const data = [Datum.fromCompletion(encode("2 + 2 ="), encode(" 4"))]
  let first = 0
  let last = 0
  for (let i = 0; i < 20; i++) {
    const gradients = yield* training.forwardBackward(data, "cross_entropy")
    const step = yield* training.optimStep({ learningRate: 1e-2 })
    const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(step)])
    last = metrics["loss:sum"]
    if (i === 0) first = last
  }
  const sampler = yield* training.saveWeightsAndGetSamplingClient
  const { sequences } = yield* sampler.sample({ prompt: encode("2 + 2 ="), maxTokens: 2, seed: 1 })
  if (!(last < first / 2) || sequences.length !== 1) throw new Error("loss " + first + " to " + last)
  return "loss " + first + " to " + last + ", trained"
}).pipe(Effect.scoped, Effect.provide(${layer}))

${end}
`
const printed = "Effect.runPromise(program).then((text) => console.log(text))"
const programs = {
  "embedded.mjs": training("LocalTinkex.layer()", "import * as LocalTinkex from \"tinkex/LocalTinkex\"", printed),
  "client.mjs": training("NodeTinkex.layerConfig()", "import * as NodeTinkex from \"tinkex/NodeTinkex\"", printed),
  "fetch.mjs": training(
    "Layer.provide(Tinkex.layerConfig(), FetchHttpClient.layer)",
    "import * as FetchHttpClient from \"@effect/platform/FetchHttpClient\"\nimport * as Tinkex from \"tinkex/Tinkex\"",
    printed
  ),
  "page.mjs": training(
    "Layer.provide(Tinkex.layer({ baseUrl: new URL(location.href).searchParams.get(\"server\") }), FetchHttpClient.layer)",
    "import * as FetchHttpClient from \"@effect/platform/FetchHttpClient\"\nimport * as Tinkex from \"tinkex/Tinkex\"",
    `Effect.runPromise(program).then(
  (text) => fetch("/said", { method: "POST", body: text }),
  (error) => fetch("/said", { method: "POST", body: String(error?.stack ?? error) })
)`
  )
}

/** A runtime from its npm package, which is installed beside the project. */
const fromNpm = (name, version, file) => {
  const home = join(folder, `${name}-${version}`)
  mkdirSync(home)
  writeFileSync(join(home, "package.json"), "{ \"private\": true }")
  npm(home, "install", `${name}@${version}`)
  const path = join(home, "node_modules", ...file)
  return existsSync(path) ? path : join(home, "node_modules", ".bin", name)
}

const onPath = (...names) =>
  names.flatMap((name) => (process.env.PATH ?? "").split(delimiter).map((dir) => join(dir, name))).find(existsSync)

const serve = (...options) =>
  new Promise((resolve, reject) => {
    const tinkex = join(project, "node_modules", "tinkex", "bin", "tinkex.js")
    const child = spawn(process.execPath, [tinkex, "serve", "--port", "0", ...options], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    children.add(child)
    let text = ""
    child.stdout.on("data", (chunk) => {
      text += chunk.toString()
      const url = /listening on (\S+)/.exec(text)?.[1]
      if (url !== undefined) resolve({ url, end: () => child.kill("SIGTERM") })
    })
    child.once("exit", (code) => reject(new Error(`tinkex serve ended with ${code}\n${text}`)))
  })

/** A page of another origin than the server's, opened in Chromium; it tells this process how it went. */
const inBrowser = async (browser) => {
  const { buildSync } = createRequire(createRequire(import.meta.url).resolve("tsx"))("esbuild")
  const outfile = join(folder, "page.js")
  buildSync({
    entryPoints: [join(project, "page.mjs")],
    bundle: true,
    format: "esm",
    platform: "browser",
    outfile,
    logLevel: "error"
  })
  let told
  const said = new Promise((resolve) => (told = resolve))
  const page = createServer((request, response) => {
    if (request.method === "POST") {
      let text = ""
      request.on("data", (chunk) => (text += chunk)).on("end", () => {
        told(text)
        response.end()
      })
    } else if (request.url.startsWith("/page.js")) {
      response.setHeader("content-type", "text/javascript")
      response.end(readFileSync(outfile))
    } else {
      response.setHeader("content-type", "text/html")
      response.end("<!doctype html><title>tinkex</title><script type=module src=/page.js></script>")
    }
  })
  await new Promise((resolve) => page.listen(0, "127.0.0.1", resolve))
  const origin = `http://127.0.0.1:${page.address().port}`
  const server = await serve("--cors", origin)
  const chromium = spawn(browser, [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--user-data-dir=${mkdtempSync(join(folder, "chromium-"))}`,
    `${origin}/?server=${encodeURIComponent(server.url)}`
  ], { stdio: "ignore" })
  children.add(chromium)
  const slow = setTimeout(() => told("nothing was heard from the page within five minutes"), 300_000)
  const output = await said
  clearTimeout(slow)
  chromium.kill("SIGKILL")
  server.end()
  page.close()
  return { ok: output.includes("trained"), output }
}

const node = (name, version) => ({
  name,
  of: () => version === undefined ? process.execPath : fromNpm("node", version, ["node", "bin", "node"]),
  args: []
})
const runtimes = [
  node("Node 20", "20"),
  node("Node 22", "22"),
  node("Node 24", "24"),
  { name: "Deno", of: () => fromNpm("deno", "latest", ["deno", "deno"]), args: ["run", "--allow-all"] },
  { name: "Bun", of: () => fromNpm("bun", "latest", ["bun", "bin", "bun.exe"]), args: [] }
]

const rows = []
const note = (runtime, way, { ok, output }) => {
  const reason = ok
    ? ""
    : output.trim().split("\n").find((line) => /error|not a function|cannot/i.test(line)) ?? output.trim().slice(-200)
  rows.push({ runtime, way, ok, reason })
  console.log(`${ok ? "works" : "FAILS"}  ${runtime}, ${way}${ok ? "" : `: ${reason}`}`)
  if (!ok && process.env.VERBOSE) console.log(output)
}
const chosen = (name) => wanted.length === 0 || wanted.some((part) => name.toLowerCase().includes(part.toLowerCase()))

try {
  mkdirSync(project)
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "stranger", private: true, type: "module" }))
  run(root, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder)
  const tarball = join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz")))
  const line = /^npm install .*$/m.exec(readFileSync(join(root, "README.md"), "utf8"))[0].split(" ").slice(1)
  npm(project, ...line.map((word) => word === "tinkex" ? tarball : word))
  for (const [name, code] of Object.entries(programs)) writeFileSync(join(project, name), code)

  const server = await serve()
  const env = { TINKER_BASE_URL: server.url }
  for (const { args, name, of } of runtimes.filter(({ name }) => chosen(name))) {
    const command = of()
    const version = run(project, command, "--version").split("\n")[0].replace(/^(v|deno )/, "").split(" ")[0]
    const full = name.startsWith("Node") ? `Node ${version}` : `${name} ${version}`
    note(full, "embedded server (`LocalTinkex`)", await attempt(command, [...args, "embedded.mjs"]))
    note(full, "client (`NodeTinkex`)", await attempt(command, [...args, "client.mjs"], env))
    note(full, "client over `fetch` (`Tinkex`)", await attempt(command, [...args, "fetch.mjs"], env))
  }
  server.end()
  if (chosen("Chromium")) {
    const browser = onPath("chromium", "chromium-browser", "google-chrome")
    if (browser === undefined) console.log("skips  Chromium: none is installed")
    else {
      const version = /[\d.]+/.exec(run(project, browser, "--version"))[0].split(".")[0]
      note(
        `Chromium ${version}`,
        "client over `fetch` (`Tinkex`), bundled, `tinkex serve --cors`",
        await inBrowser(browser)
      )
    }
  }
} finally {
  for (const child of children) child.kill("SIGKILL")
  rmSync(folder, { recursive: true, force: true })
}

if (update) {
  const path = join(root, "docs", "runtimes.md")
  const table = `| runtime | way | |\n| --- | --- | --- |\n${
    rows.map(({ ok, reason, runtime, way }) => `| ${runtime} | ${way} | ${ok ? "works" : `does not: ${reason}`} |\n`)
      .join("")
  }`
  writeFileSync(
    path,
    readFileSync(path, "utf8").replace(
      /(<!-- table -->\n)[\s\S]*?(<!-- end -->)/,
      (_, begin, end) => `${begin}\n${table}\n${end}`
    )
  )
}
process.exit(rows.every(({ ok }) => ok) ? 0 : 1)
