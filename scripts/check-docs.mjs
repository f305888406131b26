// Type-checks every block of code that the documentation shows, as a module of its own that imports from "tinkex".
import { join } from "node:path"
import ts from "typescript"
import { codeBlocks } from "./docs.mjs"
import { root } from "./rooms.mjs"

const virtual = new Map(codeBlocks().map((block) => [join(root, "examples", block.name), block]))

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
