// Holds the shape of the sources: no file over 400 lines, no binding over 120, no drawer called `internal` where rooms are laid
// out by what they do.
import { readFileSync } from "node:fs"
import { relative, sep } from "node:path"
import ts from "typescript"
import { root, sources } from "./rooms.mjs"

const most = { file: 400, binding: 120 }
const withoutDrawers = ["server", "engine", "cli", "chat", "runs", "recipes", "ai", "gateway", "conformance"]

const problems = []
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
  if (count > most.file) problems.push(`${here}: ${count} lines, ${most.file} at most`)
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true)
  for (const [name, node] of bindings(file)) {
    const length = lines(file, node)
    if (length > most.binding) {
      const at = file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1
      problems.push(`${here}:${at}: ${name} has ${length} lines, ${most.binding} at most`)
    }
  }
  const [, room, ...folders] = here.split(sep)
  if (withoutDrawers.includes(room) && folders.includes("internal")) {
    problems.push(`${here}: a private file lies beside what uses it, not in a folder called internal`)
  }
}
if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
console.log(`shape: ${sources().length} files, none over ${most.file} lines, no binding over ${most.binding}`)
