// Compiles the engine's kernels, src/engine/kernels/assembly, to WebAssembly and embeds them as a module.
// With --check: fails if the embedded module is not what the sources give.
import asc from "assemblyscript/asc"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const target = fileURLToPath(new URL("../src/engine/kernels/kernelsWasm.generated.ts", import.meta.url))

const options = "-O3 --noAssert --runtime stub --enable simd --importMemory --initialMemory 1 --outFile kernels.wasm"

const compile = async (more) => {
  let binary
  const { error, stderr } = await asc.main([
    "src/engine/kernels/assembly/index.ts",
    "--baseDir",
    root,
    ...options.split(" "),
    ...more
  ], {
    writeFile: (name, contents) => {
      if (name.endsWith("kernels.wasm")) binary = contents
    }
  })
  if (error || binary === undefined) throw new Error(`the kernels do not compile\n${stderr}`)
  return binary
}

const embed = (binary) => `"${Buffer.from(binary).toString("base64")}"`

const plain = await compile([])
const relaxed = await compile(["--enable", "relaxed-simd"])
const text = `// Written by scripts/build-wasm.mjs from src/engine/kernels/assembly. Do not edit.

/** The kernels: a WebAssembly module of ${plain.length} bytes, in base64. */
export const plainWasm = ${embed(plain)}

/** The same for runtimes with relaxed SIMD: ${relaxed.length} bytes. */
export const relaxedWasm = ${embed(relaxed)}
`

const present = fs.existsSync(target) ? fs.readFileSync(target, "utf8") : ""
if (process.argv.includes("--check")) {
  if (present !== text) {
    console.error("src/engine/kernels/kernelsWasm.generated.ts is stale: run node scripts/build-wasm.mjs")
    process.exit(1)
  }
} else if (present !== text) {
  fs.writeFileSync(target, text)
}
console.log(`kernels: ${plain.length} and ${relaxed.length} bytes of WebAssembly`)
