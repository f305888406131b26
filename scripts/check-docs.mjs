// Type-checks every ```ts block of README.md, docs/*.md and of the doc comments in src/, as a module of its own that
// imports from "tinkex". A block marked ```ts no-check is left alone.
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"
import ts from "typescript"
import { root, sources } from "./rooms.mjs"

const fences = (text, strip) => {
  const found = []
  const lines = text.split("\n")
  for (let i = 0; i < lines.length; i++) {
    const open = /^\s*(?:\*\s?)?```(?:ts|typescript)\s*$/.exec(lines[i])
    if (open === null) continue
    const start = i + 1
    const block = []
    while (++i < lines.length && !/^\s*(?:\*\s?)?```\s*$/.test(lines[i])) block.push(strip(lines[i]))
    found.push({ line: start + 1, code: block.join("\n") })
  }
  return found
}

const documents = [
  join(root, "README.md"),
  ...(existsSync(join(root, "docs")) ? readdirSync(join(root, "docs")).map((name) => join(root, "docs", name)) : [])
].filter((path) => path.endsWith(".md") && existsSync(path))

const virtual = new Map()
const add = (path, strip) => {
  for (const { code, line } of fences(readFileSync(path, "utf8"), strip)) {
    const name = join(root, "examples", `__${relative(root, path).replace(/[^A-Za-z0-9]/g, "_")}_${line}.ts`)
    virtual.set(name, { code: `${code}\nexport {}\n`, path: relative(root, path), line })
  }
}
for (const path of documents) add(path, (line) => line)
for (const path of sources()) add(path, (line) => line.replace(/^\s*\* ?/, ""))

const configFile = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile)
const config = ts.parseJsonConfigFileContent(configFile.config, ts.sys, root)
const options = { ...config.options, incremental: false, tsBuildInfoFile: undefined, noUnusedLocals: false }
const host = ts.createCompilerHost(options, true)
const { fileExists, getSourceFile, readFile } = host
host.fileExists = (path) => virtual.has(path) || fileExists(path)
host.readFile = (path) => virtual.get(path)?.code ?? readFile(path)
host.getSourceFile = (path, ...rest) =>
  virtual.has(path)
    ? ts.createSourceFile(path, virtual.get(path).code, ts.ScriptTarget.ES2022, true)
    : getSourceFile(path, ...rest)

const program = ts.createProgram([...virtual.keys()], options, host)
const problems = []
for (const [name, { line, path }] of virtual) {
  const file = program.getSourceFile(name)
  for (const diagnostic of [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]) {
    const at = line + file.getLineAndCharacterOfPosition(diagnostic.start ?? 0).line
    problems.push(`${path}:${at}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n  ")}`)
  }
}
if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
console.log(`docs: ${virtual.size} examples compile`)
