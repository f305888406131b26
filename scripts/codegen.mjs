// Writes what follows from the layout: src/index.ts (one `export * as X` per public, platform-neutral module) and the
// exports map of package.json. With --check it writes nothing and fails where a file is stale.
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { publicModules, root, src } from "./rooms.mjs"

/** Reached by their subpath alone: the whole of HttpApi would slow down every import of the package. */
const apart = new Set(["TinkerApi", "Conformance"])
const check = process.argv.includes("--check")
const stale = []

const moduleDoc = (path) => {
  const match = /^\/\*\*[\s\S]*?\*\//.exec(readFileSync(path, "utf8"))
  if (match === null || !match[0].includes("@since")) {
    console.error(`${relative(root, path)}: has no module comment with @since`)
    process.exit(1)
  }
  return match[0]
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

const modules = publicModules().filter(({ name }) => name !== "index")
const names = new Set()
for (const { name, path } of modules) {
  if (names.has(name)) {
    console.error(`${relative(root, path)}: a public module is already called ${name}`)
    process.exit(1)
  }
  names.add(name)
}

write(
  join(src, "index.ts"),
  `/**
 * tinkex: fine-tune and sample open-weight language models as typed, composable, interruptible Effects.
 *
 * @since 0.1.0
 */
` + modules.filter(({ name }) =>
    !apart.has(name)
  ).map(({ name, path }) =>
    `\n${moduleDoc(path)}\nexport * as ${name} from "./${relative(src, path).replace(/\.ts$/, ".js")}"\n`
  ).join("")
)

const entry = (path) => ({ types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` })
const exports = { "./package.json": "./package.json", ".": entry("index") }
for (const { name, path } of modules) exports[`./${name}`] = entry(relative(src, path).replace(/\.ts$/, ""))
for (const door of ["LocalTinkex", "NodeTinkex"]) {
  if (existsSync(join(src, `${door}.ts`))) exports[`./${door}`] = entry(door)
}
if (existsSync(join(src, "testing", "index.ts"))) exports["./testing"] = entry("testing/index")

const manifest = join(root, "package.json")
const json = JSON.parse(readFileSync(manifest, "utf8"))
if (JSON.stringify(json.exports) !== JSON.stringify(exports)) {
  if (check) stale.push("package.json (exports)")
  else writeFileSync(manifest, JSON.stringify({ ...json, exports }, null, 2) + "\n")
}

if (stale.length > 0) {
  console.error(`stale: ${stale.join(", ")}; run: npm run codegen`)
  process.exit(1)
}
if (check) console.log(`index and exports: ${modules.length} public modules, up to date`)
