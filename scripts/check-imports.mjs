// Holds every import of src/ against the table of rooms.mjs: direction between rooms, no barrel imports, no `node:` in
// the platform-neutral rooms, nobody but its own room inside `internal/`.
import { existsSync, readFileSync } from "node:fs"
import { dirname, relative, resolve } from "node:path"
import ts from "typescript"
import { allowed, floors, platformNeutral, roomOf, root, sources } from "./rooms.mjs"

const barrels = new Set(["effect", "@effect/platform", "@effect/platform-node", "@effect/cli", "@effect/experimental"])
const problems = []

const imports = (path) => {
  const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true)
  const found = []
  const visit = (node) => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      found.push(node.moduleSpecifier.text)
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      if (node.arguments[0] && ts.isStringLiteral(node.arguments[0])) found.push(node.arguments[0].text)
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      found.push(node.argument.literal.text)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

/** How high a file lies in its room; 0 is the top. */
const floorOf = (path, { above, order }) => {
  const [first, ...rest] = relative(root, path).split("/").slice(2)
  if (rest.length > 0) return 1 + order.indexOf(first)
  return above.includes(first.replace(/\.ts$/, "")) ? 0 : 1 + order.length
}

let count = 0
for (const path of sources()) {
  const room = roomOf(path)
  const here = relative(root, path)
  const may = allowed[room]
  if (may === undefined) {
    problems.push(`${here}: ${room} is not a room of the house (scripts/rooms.mjs)`)
    continue
  }
  for (const specifier of imports(path)) {
    count++
    if (barrels.has(specifier)) problems.push(`${here}: imports the barrel "${specifier}"`)
    if (
      platformNeutral.includes(room) && (specifier.startsWith("node:") || specifier.startsWith("@effect/platform-node"))
    ) {
      problems.push(`${here}: ${room} must run in a browser, but imports "${specifier}"`)
    }
    if (!specifier.startsWith(".")) continue
    const target = resolve(dirname(path), specifier).replace(/\.js$/, ".ts")
    if (!existsSync(target)) {
      problems.push(`${here}: "${specifier}" does not exist`)
      continue
    }
    const other = roomOf(target)
    const plan = floors[room]
    if (plan !== undefined && other === room && floorOf(target, plan) < floorOf(path, plan)) {
      problems.push(`${here}: ${room} is laid out downwards, but imports "${specifier}"`)
    }
    if (other === room) continue
    if (!may.includes(other)) problems.push(`${here}: ${room} may not import ${other} ("${specifier}")`)
    if (relative(root, target).includes("/internal/")) {
      problems.push(`${here}: "${specifier}" is internal to ${other}`)
    }
  }
}
if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
console.log(`imports: ${count} in ${sources().length} files keep the direction`)
