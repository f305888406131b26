// Writes what follows from the layout: src/index.ts (one `export * as X` per public, platform-neutral module), the exports map
// of package.json and docs/modules.md. With --check it writes nothing and fails where a file is stale.
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { publicModules, root, src } from "./rooms.mjs"

const check = process.argv.includes("--check")
const stale = []
const fail = (text) => {
  console.error(text)
  process.exit(1)
}

const moduleDoc = (path) => {
  const match = /^\/\*\*[\s\S]*?\*\//.exec(readFileSync(path, "utf8"))
  if (match === null || !match[0].includes("@since")) fail(`${relative(root, path)}: has no module comment with @since`)
  return match[0]
}

/** The beginning of a module's comment: whole sentences, as many as fit a line of a table. */
const oneLine = (path) => {
  const text = moduleDoc(path).replace(/^\/\*\*|\*\/$/g, "").replace(/^\s*\* ?/gm, "").split(/^@/m)[0].trim().replace(
    / \(docs\/[^)]*\)/g,
    ""
  )
  const [first, ...others] = text.split(/\n\s*\n/)[0].replace(/\s+/g, " ").split(/(?<=\.) (?=[A-Z`])/)
  return others.reduce(
    ([line, done], next) => done || line.length + next.length > 140 ? [line, true] : [`${line} ${next}`, false],
    [first, false]
  )[0].replace(/:$/, ".").replaceAll("|", "\\|")
}

const write = (path, text) => {
  const old = existsSync(path) ? readFileSync(path, "utf8") : ""
  if (old === text) return
  if (check) stale.push(relative(root, path))
  else writeFileSync(path, text)
}

const version = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version
write(
  join(src, "protocol", "Version.ts"),
  `/**
 * The version of this package, as it introduces itself on the wire. Written from package.json.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category constants
 */
export const version = "${version}"
`
)

const modules = publicModules()
const taken = new Map()
for (const { indexed, name, path, subpath } of modules) {
  for (const key of [subpath, ...(indexed && name !== subpath ? [name] : [])]) {
    if (taken.has(key)) fail(`${relative(root, path)}: ${taken.get(key)} is already called ${key}`)
    taken.set(key, relative(root, path))
  }
}

write(
  join(src, "index.ts"),
  `/**
 * tinkex: fine-tune and sample open-weight language models as typed, composable, interruptible Effects.
 *
 * @since 0.1.0
 */
` + modules.filter(({ indexed }) =>
    indexed
  ).map(({ name, path }) =>
    `\n${moduleDoc(path)}\nexport * as ${name} from "./${relative(src, path).replace(/\.ts$/, ".js")}"\n`
  ).join("")
)

// The page of a run's report: uPlot and what is ours, as texts, so that a report is one file.
const asset = (...parts) => readFileSync(join(root, ...parts), "utf8")
const assets = {
  plotScript: asset("node_modules", "uplot", "dist", "uPlot.iife.min.js"),
  plotStyle: asset("node_modules", "uplot", "dist", "uPlot.min.css"),
  pageScript: `(() => {\n${asset("src", "runs", "page", "page.js")}})()`,
  pageStyle: asset("src", "runs", "page", "page.css")
}
write(
  join(src, "runs", "reportAssets.generated.ts"),
  `/** Written by scripts/codegen.mjs from src/runs/page and uPlot (MIT, https://github.com/leeoniya/uPlot). */\n\n` +
    Object.entries(assets).map(([name, text]) =>
      `// dprint-ignore\nexport const ${name}: string = ${JSON.stringify(text.trim())}\n`
    ).join("\n")
)

const entry = (path) => ({ types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` })
const exports = { "./package.json": "./package.json", ".": entry("index") }
const firstTier = modules.filter(({ subpath }) => !subpath.includes("/"))
const secondTier = modules.filter(({ subpath }) => subpath.includes("/"))
for (const { path, subpath } of [...firstTier, ...secondTier]) {
  exports[`./${subpath}`] = entry(relative(src, path).replace(/\.ts$/, ""))
}
const manifest = join(root, "package.json")
const json = JSON.parse(readFileSync(manifest, "utf8"))
if (JSON.stringify(json.exports) !== JSON.stringify(exports)) {
  if (check) stale.push("package.json (exports)")
  else writeFileSync(manifest, JSON.stringify({ ...json, exports }, null, 2) + "\n")
}

const table = (modules) =>
  `| import | what it is |\n| --- | --- |\n${
    modules.map(({ path, subpath }) => `| \`tinkex/${subpath}\` | ${oneLine(path)} |\n`).join("")
  }`
const room = (name) => secondTier.filter(({ subpath }) => subpath.startsWith(`${name}/`))
const secondRooms = [...new Set(secondTier.map(({ subpath }) => subpath.split("/")[0]))]
const about = {
  protocol: "The wire: schemas, codecs, routes. It follows the service, and may change with it in a minor version.",
  resilience: "Back-off, breakers, budgets and gates that know nothing of Tinker.",
  observability: "What metrics are made of.",
  tokenizer: "Tokenizers from other places.",
  chat: "What renderers fail with.",
  client: "What the clients stand on.",
  engine: "What trains and samples behind the embedded server. Another one can be put in its place.",
  server: "The embedded server, to be mounted or run elsewhere.",
  ai: "Providers for AI SDKs. Each needs its SDK installed."
}
write(
  join(root, "docs", "modules.md"),
  `# Modules

Written by \`npm run codegen\` from the comments of the modules. Import a module, or take it out of \`tinkex\` by its name where it runs
in every runtime.

## For those who train and sample

These keep to semantic versioning.

${table(firstTier)}
## For those who build on the parts
${
    secondRooms.map((name) => `
### tinkex/${name}/*

${about[name] ?? fail(`scripts/codegen.mjs says nothing about the room ${name}`)}

${table(room(name))}`).join("")
  }`
)

if (stale.length > 0) fail(`stale: ${stale.join(", ")}; run: npm run codegen`)
if (check) {
  console.log(`index and exports: ${firstTier.length} modules flat, ${secondTier.length} by room, up to date`)
}
