// Holds the shape of the sources: no file over 400 lines, no binding over 120, no drawer called `internal` where rooms are laid
// out by what they do.
import { readFileSync } from "node:fs"
import { join, relative, sep } from "node:path"
import ts from "typescript"
import { root, sources } from "./rooms.mjs"

const most = { file: 400, binding: 120 }
const withoutDrawers = ["server", "engine", "cli", "chat", "runs", "recipes", "ai", "gateway", "conformance"]

/** What is larger yet, and how large: it may shrink, and nothing may join it. */
const { larger } = JSON.parse(readFileSync(join(root, "scripts", "known.json"), "utf8"))
const seen = new Set()
const problems = []
const hold = (key, count, limit) => {
  if (count <= limit) return
  seen.add(key)
  if (count > (larger[key] ?? 0)) problems.push(`${key}: ${count} lines, ${larger[key] ?? limit} at most`)
  else if (count < larger[key]) problems.push(`scripts/known.json: ${key} has ${count} lines now, write that`)
}
const lines = (file, node) =>
  file.getLineAndCharacterOfPosition(node.getEnd()).line -
  file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1

/** What a name is bound to: constants, functions, classes, methods; interfaces and types say much in many lines. */
const bindings = (file) => {
  const found = []
  const visit = (node) => {
    if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name)) found.push([node.name.text, node])
    else if (
      (ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) || ts.isMethodDeclaration(node)) && node.name
    ) {
      found.push([node.name.getText(file), node])
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

for (const path of sources()) {
  const here = relative(root, path)
  const text = readFileSync(path, "utf8")
  if (here.endsWith(".generated.ts") || here === `src${sep}index.ts`) continue
  const count = text.split("\n").length - 1
  hold(here, count, most.file)
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true)
  for (const [name, node] of bindings(file)) {
    hold(`${here}#${name}`, lines(file, node), most.binding)
  }
  const [, room, ...folders] = here.split(sep)
  if (withoutDrawers.includes(room) && folders.includes("internal")) {
    problems.push(`${here}: a private file lies beside what uses it, not in a folder called internal`)
  }
}
for (const key of Object.keys(larger).filter((key) => !seen.has(key))) {
  problems.push(`scripts/known.json: ${key} need not be listed any more`)
}
if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
const exceptions = Object.keys(larger).length
console.log(
  `shape: ${sources().length} files of ${most.file} lines at most, bindings of ${most.binding}; ${exceptions} exceptions that only shrink`
)
