// Nothing is exported without a user: what a private module exports is used by another file of src/, and not by tests alone.
// What public modules export is the public surface (docs/modules.md), whose users are elsewhere.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import ts from "typescript"
import { publicModules, root, sources } from "./rooms.mjs"

const under = (dir) =>
  existsSync(dir)
    ? readdirSync(dir).flatMap((name) => {
      const path = join(dir, name)
      return statSync(path).isDirectory() ? under(path) : path.endsWith(".ts") ? [path] : []
    })
    : []

const parse = (path) => ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true)
const targetOf = (path, specifier) => {
  if (!specifier.startsWith(".")) return undefined
  const target = resolve(dirname(path), specifier).replace(/\.js$/, ".ts")
  return existsSync(target) ? target : undefined
}

/** The values that a module exports itself, with where. */
const exportsOf = (file) =>
  file.statements.flatMap((node) => {
    if (
      !ts.canHaveModifiers(node) || !ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
    ) return []
    if (ts.isVariableStatement(node)) {
      return node.declarationList.declarations.flatMap(({ name }) => ts.isIdentifier(name) ? [name] : [])
    }
    // a type may be exported so that a signature can be named
    if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return []
    return node.name && ts.isIdentifier(node.name) ? [node.name] : []
  })

/** What a module uses of others: `module -> names`, `*` where it takes all. */
const usesOf = (path, file) => {
  const used = new Map()
  const use = (target, name) => {
    if (target === undefined) return
    if (!used.has(target)) used.set(target, new Set())
    used.get(target).add(name)
  }
  const spaces = new Map()
  const visit = (node) => {
    if (ts.isImportDeclaration(node)) {
      const target = targetOf(path, node.moduleSpecifier.text)
      const bound = node.importClause?.namedBindings
      if (bound && ts.isNamedImports(bound)) {
        for (const { name, propertyName } of bound.elements) use(target, (propertyName ?? name).text)
      }
      if (bound && ts.isNamespaceImport(bound) && target !== undefined) spaces.set(bound.name.text, target)
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier) {
      const target = targetOf(path, node.moduleSpecifier.text)
      if (node.exportClause && ts.isNamedExports(node.exportClause)) {
        for (const { name, propertyName } of node.exportClause.elements) use(target, (propertyName ?? name).text)
      } else use(target, "*")
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      if (node.arguments[0] && ts.isStringLiteral(node.arguments[0])) use(targetOf(path, node.arguments[0].text), "*")
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      use(targetOf(path, node.argument.literal.text), node.qualifier?.getText() ?? "*")
    } else if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression)) {
      use(spaces.get(node.expression.text), node.name.text)
    } else if (ts.isQualifiedName(node) && ts.isIdentifier(node.left)) {
      use(spaces.get(node.left.text), node.right.text)
    } else if (ts.isIdentifier(node) && spaces.has(node.text) && !ts.isNamespaceImport(node.parent)) {
      // handed on whole, or taken apart
      use(spaces.get(node.text), "*")
    }
    // the name of a namespace in `X.y` is no use of the whole
    ts.forEachChild(node, (child) => {
      if (
        (ts.isPropertyAccessExpression(node) && child === node.expression ||
          ts.isQualifiedName(node) && child === node.left) &&
        ts.isIdentifier(child) && spaces.has(child.text)
      ) return
      visit(child)
    })
  }
  visit(file)
  return used
}

const files = sources().map((path) => [path, parse(path)])
const usedBy = (files) => {
  const used = new Set()
  for (const [path, file] of files) {
    for (const [target, names] of usesOf(path, file)) {
      if (target !== path) { for (const name of names) used.add(`${target}#${name}`) }
    }
  }
  return used
}
const inSources = usedBy(files)
const inTests = usedBy(under(join(root, "test")).map((path) => [path, parse(path)]))
const surface = new Set(publicModules().map(({ path }) => path))
// what others run or read as it is: entry points, workers, and what public modules hand on under their own name
const entries = new Set(["src/index.ts", "src/cli/main.ts"].map((path) => join(root, path)))

/** Parts that a test holds by themselves, against vectors or an oracle, though src reaches them in their own file alone. */
const known = new Set(JSON.parse(readFileSync(join(root, "scripts", "known.json"), "utf8")).testedAlone)

const problems = []
let count = 0
for (const [path, file] of files) {
  if (surface.has(path) || entries.has(path) || path.endsWith(".generated.ts")) continue
  if (inSources.has(`${path}#*`)) continue
  for (const name of exportsOf(file)) {
    count++
    if (inSources.has(`${path}#${name.text}`)) continue
    const at = `${relative(root, path)}:${file.getLineAndCharacterOfPosition(name.getStart(file)).line + 1}`
    const tested = inTests.has(`${path}#${name.text}`)
    if (tested && known.delete(`${relative(root, path)}#${name.text}`)) continue
    const alone = tested ? "only tests use it" : "nobody uses it"
    problems.push(`${at}: ${name.text} is exported, and ${alone}`)
  }
}
for (const name of known) problems.push(`scripts/known.json: ${name} need not be listed any more`)
if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
console.log(`exports: ${count} of private modules, each with a user in src`)
