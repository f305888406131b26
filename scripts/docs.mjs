// The code that the documentation shows: every ```ts block of README.md, docs/ and of the doc comments in src/. A block
// marked ```ts no-check is left alone.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join, relative } from "node:path"
import { root, sources } from "./rooms.mjs"

const under = (dir) =>
  existsSync(dir)
    ? readdirSync(dir).sort().flatMap((name) => {
      const path = join(dir, name)
      return statSync(path).isDirectory() ? under(path) : [path]
    })
    : []

/** README.md, CHANGELOG.md and their like, and everything in docs/. */
export const documents = () => [
  ...readdirSync(root).sort().filter((name) => name.endsWith(".md")).map((name) => join(root, name)),
  ...under(join(root, "docs")).filter((path) => path.endsWith(".md"))
]

const fences = (text, strip) => {
  const found = []
  const lines = text.split("\n")
  for (let i = 0; i < lines.length; i++) {
    const open = /^\s*(?:\*\s?)?```(?:ts|typescript)\s*$/.exec(lines[i])
    if (open === null) continue
    const start = i + 1
    const block = []
    while (++i < lines.length && !/^\s*(?:\*\s?)?```\s*$/.test(lines[i])) block.push(strip(lines[i]))
    found.push({ line: start + 1, code: `${block.join("\n")}\nexport {}\n` })
  }
  return found
}

/** Every block as `{ name, path, line, code }`: a file name of its own, where it stands, and a module. */
export const codeBlocks = () =>
  [
    ...documents().map((path) => [path, (line) => line]),
    ...sources().map((path) => [path, (line) => line.replace(/^\s*\* ?/, "")])
  ].flatMap(([path, strip]) => {
    const from = relative(root, path)
    return fences(readFileSync(path, "utf8"), strip).map(({ code, line }) => ({
      name: `__${from.replace(/[^A-Za-z0-9]/g, "_")}_${line}.ts`,
      path: from,
      line,
      code
    }))
  })
