// Builds the page that trains in a tab into site/dist (or the folder that is named): page, engine, worker; static, no server behind it.
// It also measures the same training on Node, with the built package, and shows the figures beside the tab's.
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { cpus } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, "..", "..")
const { build } = createRequire(createRequire(import.meta.url).resolve("tsx"))("esbuild")

/** What `tinkex demo` says of itself on this machine. */
const measureNode = () => {
  const done = spawnSync(process.execPath, [join(root, "bin", "tinkex.js"), "demo", "--json"], { encoding: "utf8" })
  if (done.status !== 0) return null
  const { tokens, trainingMs } = JSON.parse(done.stdout)
  return {
    where: `Node ${process.versions.node.split(".")[0]} (60 steps; ${cpus()[0]?.model.trim() ?? "unknown processor"})`,
    seconds: trainingMs / 1000,
    tokensPerSecond: tokens / trainingMs * 1000
  }
}

const inBrowser = {
  name: "in a browser",
  setup: (context) => {
    context.onResolve({ filter: /^node:/ }, () => ({ path: join(here, "page", "node.ts") }))
  }
}

export const buildPlayground = async ({ links = "", out = join(root, "site", "dist"), timings = true } = {}) => {
  mkdirSync(out, { recursive: true })
  const nodeTimings = timings ? measureNode() : null
  const bundle = (entry, file, options = {}) =>
    build({
      entryPoints: [entry],
      outfile: join(out, file),
      bundle: true,
      format: "iife",
      platform: "browser",
      target: "es2022",
      minify: true,
      legalComments: "none",
      logLevel: "error",
      tsconfig: join(root, "tsconfig.json"),
      plugins: [inBrowser],
      define: { nodeTimings: JSON.stringify(nodeTimings), "import.meta.url": "location.href" },
      inject: [join(here, "page", "buffer.ts")],
      ...options
    })
  await bundle(join(here, "page", "main.ts"), "page.js")
  await bundle(join(root, "src", "engine", "host", "worker.ts"), "engine.js")
  await bundle(join(here, "page", "worker.ts"), "worker.js", { inject: [] })
  const page = readFileSync(join(here, "index.html"), "utf8").replace("<!-- links -->", links)
  writeFileSync(join(out, "index.html"), page)
  copyFileSync(join(here, "page.css"), join(out, "page.css"))
  const files = ["index.html", "page.css", "page.js", "engine.js", "worker.js"]
  const transferred = files.reduce((sum, name) => sum + gzipSync(readFileSync(join(out, name))).length, 0)
  return { out, nodeTimings, transferred, files: readdirSync(out) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { nodeTimings, out, transferred } = await buildPlayground()
  console.log(`playground: ${out}, ${(transferred / 1e6).toFixed(2)} MB transferred (gzip)`)
  if (nodeTimings !== null) console.log(`Node: ${nodeTimings.seconds.toFixed(1)} s, ${Math.round(nodeTimings.tokensPerSecond)} tokens/s`)
}
