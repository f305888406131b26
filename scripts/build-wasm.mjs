// Compiles the engine's kernels, src/engine/kernels/assembly, to WebAssembly and embeds them as a module.
// With --check: fails if the embedded module is not what the sources give.
import asc from "assemblyscript/asc"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const target = fileURLToPath(new URL("../src/engine/kernels/kernelsWasm.generated.ts", import.meta.url))

const options = "-O3 --noAssert --runtime stub --enable simd --importMemory --initialMemory 1 --maximumMemory 65536 " +
  "--outFile kernels.wasm"

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

/** Where the import of the memory has its flags: 1 is a memory of one instance, 3 one that several share. */
const flagsAt = (binary) => {
  const name = Buffer.from("\x03env\x06memory\x02\x01", "latin1")
  const at = Buffer.from(binary).indexOf(name)
  if (at < 0) throw new Error("the kernels import no memory with a maximum")
  const shared = Uint8Array.from(binary)
  shared[at + name.length - 1] = 3
  // An older Node finds neither form of the relaxed kernels valid.
  if (WebAssembly.validate(shared) !== WebAssembly.validate(binary)) {
    throw new Error("the kernels cannot share a memory")
  }
  return at + name.length - 1
}

const embed = (binary) => `"${Buffer.from(binary).toString("base64")}"`

const plain = await compile([])
const relaxed = await compile(["--enable", "relaxed-simd"])
const text = `// Written by scripts/build-wasm.mjs from src/engine/kernels/assembly. Do not edit.

/** The kernels: a WebAssembly module of ${plain.length} bytes, in base64. */
export const plainWasm = ${embed(plain)}

/** Where its import of the memory has its flags: 1 is a memory of one instance, 3 one that several share. */
export const plainFlags = ${flagsAt(plain)}

/** The same for runtimes with relaxed SIMD: ${relaxed.length} bytes. */
export const relaxedWasm = ${embed(relaxed)}

/** Where it has the flags. */
export const relaxedFlags = ${flagsAt(relaxed)}
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
