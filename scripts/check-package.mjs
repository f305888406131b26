// Holds the tarball, as a stranger gets it: packs, looks at its size, lets attw and publint look at it, installs it into an empty project
// and type-checks there, with skipLibCheck off, an import of every subpath, every example and every block of code that the
// documentation shows, under each way of resolving modules that finds an ESM package.
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { codeBlocks } from "./docs.mjs"
import { root } from "./rooms.mjs"

const problems = []
const run = (cwd, command, ...args) => {
  const done = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    shell: process.platform === "win32"
  })
  return { ok: done.status === 0, output: `${done.stdout ?? ""}${done.stderr ?? ""}${done.error ?? ""}`.trim() }
}
const must = (what, done) => {
  if (!done.ok) problems.push(`${what}\n${done.output}`)
  return done.ok
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

/** The packages that these modules import by name, in the versions that this project is developed with. */
const packagesOf = (modules) => {
  const names = new Set(["@types/node", "typescript", ...Object.keys(manifest.peerDependencies)])
  for (const { code } of modules) {
    for (const [, specifier] of code.matchAll(/(?:from|import|import\()\s*"([^".][^"]*)"/g)) {
      const name = specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/")
      if (name !== "tinkex" && !name.startsWith("node:")) names.add(name)
    }
  }
  return [...names].sort().map((name) => {
    const version = { ...manifest.dependencies, ...manifest.devDependencies }[name]
    if (version === undefined) problems.push(`the documentation imports ${name}, which package.json does not name`)
    return `${name}@${version}`
  })
}

const blocks = codeBlocks()
const examples = readdirSync(join(root, "examples"))
  .filter((name) => name.endsWith(".ts") && !name.startsWith("__"))
  .map((name) => ({
    name,
    path: `examples/${name}`,
    line: 1,
    code: readFileSync(join(root, "examples", name), "utf8")
  }))
const subpaths = Object.keys(manifest.exports).filter((path) => path !== "./package.json")
const surface = {
  name: "surface.ts",
  path: "an import of every subpath",
  line: 1,
  code: subpaths.map((path, i) => `import * as m${i} from "tinkex${path.slice(1)}"\nvoid m${i}\n`).join("")
}
const modules = [surface, ...examples, ...blocks]

const common = { target: "ES2022", lib: ["ES2023", "DOM", "DOM.Iterable", "DOM.AsyncIterable"], types: ["node"] }
const configs = {
  nodenext: { module: "NodeNext", moduleResolution: "NodeNext", exactOptionalPropertyTypes: true },
  // without programs that import vitest, whose own declarations do not compile there
  node16: { module: "Node16", moduleResolution: "Node16" },
  bundler: { module: "ESNext", moduleResolution: "Bundler", verbatimModuleSyntax: true }
}
const tested = ({ code }) => /from "(@effect\/)?vitest"/.test(code)

let size = 0
let unpackedSize = 0
const folder = mkdtempSync(join(tmpdir(), "tinkex-check-package-"))
try {
  const pack = run(root, "npm", "pack", "--json", "--silent", "--ignore-scripts", "--pack-destination", folder)
  if (!must("npm pack", pack)) throw new Error(pack.output)
  ;[{ size, unpackedSize }] = JSON.parse(pack.output)
  for (const [what, bytes, most] of [["tarball", size, 1.9e6], ["package", unpackedSize, 4.5e6]]) {
    if (bytes > most) problems.push(`the ${what} has ${bytes} bytes, and may have ${most}`)
  }
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))
  must("publint", run(root, process.execPath, "node_modules/publint/src/cli.js", join(folder, tarball), "--strict"))
  must(
    "attw",
    run(
      root,
      process.execPath,
      "node_modules/@arethetypeswrong/cli/dist/index.js",
      join(folder, tarball),
      "--profile",
      "esm-only"
    )
  )

  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "stranger", private: true, type: "module" }))
  const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts", "--loglevel=error"]
  if (must("npm install", run(folder, "npm", ...install, `./${tarball}`, ...packagesOf(modules)))) {
    mkdirSync(join(folder, "code"))
    for (const { code, name } of modules) writeFileSync(join(folder, "code", name), code)
    for (const [name, options] of Object.entries(configs)) {
      const path = join(folder, `tsconfig.${name}.json`)
      const compilerOptions = { ...common, ...options, strict: true, skipLibCheck: false, noEmit: true }
      const files = modules.filter((module) => name !== "node16" || !tested(module)).map(({ name }) => `code/${name}`)
      writeFileSync(path, JSON.stringify({ compilerOptions, files }))
      const done = run(folder, process.execPath, "node_modules/typescript/bin/tsc", "-p", path, "--pretty", "false")
      if (!done.ok) {
        const output = modules.reduce(
          (text, { line, name, path }) =>
            text.replaceAll(`code/${name}`, line === 1 ? path : `${path} (block at ${line}) `),
          done.output
        )
        problems.push(`types of the package, ${name}:\n${output}`)
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
if (problems.length > 0) {
  console.error(problems.join("\n\n"))
  process.exit(1)
}
console.log(
  `package: ${(size / 1e6).toFixed(2)} MB, ${
    (unpackedSize / 1e6).toFixed(2)
  } MB unpacked; ${subpaths.length} subpaths, ${examples.length} examples and ${blocks.length} blocks of code compile against ` +
    `the tarball (${Object.keys(configs).join(", ")})`
)
