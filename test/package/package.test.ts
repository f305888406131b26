import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): string =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })

/** The program that README.md shows to a newcomer. */
const readmeProgram = (): string => {
  const block = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))
  if (block?.[1] === undefined) throw new Error("README.md shows no program")
  return block[1]
}

describe("the package", () => {
  it("packs, installs into an empty project, type-checks and runs the program of the README", () => {
    const folder = mkdtempSync(join(tmpdir(), "tinkex-package-"))
    try {
      run(root, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder)
      const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))
      assert.isDefined(tarball)
      assert.isBelow(statSync(join(folder, tarball)).size, 12 * 1024 * 1024)
      writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "stranger", private: true, type: "module" }))
      run(
        folder,
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--prefer-offline",
        `./${tarball}`,
        "effect@^3.22.2",
        "@effect/platform@^0.97.2",
        "typescript@5.9.3",
        "@types/node@20.19.43"
      )
      writeFileSync(
        join(folder, "tsconfig.json"),
        JSON.stringify({
          compilerOptions: {
            target: "ES2022",
            module: "NodeNext",
            moduleResolution: "NodeNext",
            strict: true,
            exactOptionalPropertyTypes: true,
            skipLibCheck: true,
            types: ["node"],
            lib: ["ES2023", "DOM"],
            outDir: "out"
          },
          files: ["program.ts"]
        })
      )
      writeFileSync(join(folder, "program.ts"), readmeProgram())
      run(folder, "npx", "--no-install", "tsc", "-p", "tsconfig.json")
      const output = run(folder, process.execPath, "out/program.js")
      assert.match(output, /loss [\d.]+/)
      assert.match(run(folder, "npx", "--no-install", "tinkex", "version"), /tinkex \d+\.\d+\.\d+/)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }, 300_000)
})
