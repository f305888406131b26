/** The install lines of the README, in empty projects, with npm and with pnpm. */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("../..", import.meta.url))
const readme = readFileSync(join(root, "README.md"), "utf8")
const windows = process.platform === "win32"

// not execFileSync: it would keep the test runner waiting for an answer of its worker
const run = async (cwd: string, command: string, ...args: ReadonlyArray<string>): Promise<string> => {
  try {
    return (await promisify(execFile)(command, args, { cwd, shell: windows, maxBuffer: 1 << 26 })).stdout
  } catch (error) {
    const { stderr, stdout } = error as { readonly stderr?: string; readonly stdout?: string }
    throw new Error(`${command} ${args.join(" ")}\n${stdout ?? ""}${stderr ?? ""}`)
  }
}

/** What the section "Install" tells to type, as words: the packages alone and for tests and OpenTelemetry. */
const installLines = (/^## Install$[\s\S]*?(?=^## )/m.exec(readme)?.[0] ?? "")
  .split("\n")
  .filter((line) => line.startsWith("npm install "))
  .map((line) => line.replace(/\s+#.*$/, "").split(" "))

/** The program that README.md shows to a newcomer. It has no types but what TypeScript infers. */
const program = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ""

/** What README.md says that it prints. */
const output = /```ts\n[\s\S]*?```[\s\S]*?```\n([\s\S]*?)```/.exec(readme)?.[1] ?? ""

const withTests = `import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { ServiceClient } from "tinkex"
import { TestServer } from "tinkex/testing"

it.live("offers a model", () =>
  Effect.gen(function*() {
    const { serverCapabilities } = yield* ServiceClient.ServiceClient
    assert.isNotEmpty((yield* serverCapabilities).supportedModels)
  }).pipe(Effect.scoped, Effect.provide(TestServer.layer())))
`

const withOpenTelemetry = `import * as Otlp from "@effect/opentelemetry/Otlp"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { Effect, Layer } from "effect"
import { Metrics } from "tinkex"

const exporter = Otlp.layerJson({ baseUrl: "http://127.0.0.1:9", resource: { serviceName: "stranger" } }).pipe(
  Layer.provide(FetchHttpClient.layer)
)
console.log(Layer.isLayer(exporter), Effect.isEffect(Effect.void), typeof Metrics.Metrics)
process.exit(0)
`

type Manager = (folder: string) => Promise<(...words: ReadonlyArray<string>) => Promise<string>>

/** How a manager of packages is called; pnpm from its package, in the version that a stranger has today. */
const managers: Readonly<Record<string, Manager>> = {
  npm: async (folder) => (...words) => run(folder, "npm", ...words, "--no-audit", "--no-fund", "--prefer-offline"),
  pnpm: async (folder) => {
    const tools = join(folder, "..", "tools")
    await run(folder, "npm", "install", "--silent", "--prefix", tools, "--prefer-offline", "pnpm@12.21.0")
    return (...words) => run(folder, join(tools, "node_modules", ".bin", "pnpm"), ...words)
  }
}

describe.concurrent("the install lines of the README", () => {
  it("there are three", () => {
    assert.lengthOf(installLines, 3)
    assert.deepStrictEqual(installLines[0]?.slice(0, 4), ["npm", "install", "--ignore-scripts", "tinkex"])
  })

  for (const [name, manager] of Object.entries(managers)) {
    it(`work with ${name}: the program runs, its tests run, and there is one Effect`, async () => {
      const folder = realpathSync(mkdtempSync(join(tmpdir(), `tinkex-install-${name}-`)))
      try {
        await run(root, "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder)
        const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? ""
        const project = join(folder, "project")
        mkdirSync(project)
        writeFileSync(
          join(project, "package.json"),
          JSON.stringify({ name: "stranger", private: true, type: "module" })
        )
        const install = await manager(project)
        for (const line of installLines) {
          await install(...line.slice(1).map((word) => word === "tinkex" ? join(folder, tarball) : word))
        }

        writeFileSync(join(project, "program.mjs"), program)
        assert.strictEqual(await run(project, process.execPath, "program.mjs"), output)
        const tinkex = join(project, "node_modules", ".bin", "tinkex")
        assert.match(await run(project, tinkex, "version"), /tinkex \d+\.\d+\.\d+/)

        // two copies of a package that holds services would not see each other's
        const own = createRequire(join(project, "package.json"))
        const theirs = createRequire(join(realpathSync(join(project, "node_modules", "tinkex")), "package.json"))
        for (const name of ["effect", "@effect/platform", "@effect/platform-node"]) {
          assert.strictEqual(realpathSync(theirs.resolve(name)), realpathSync(own.resolve(name)))
        }

        writeFileSync(join(project, "stranger.test.mjs"), withTests)
        await run(project, join(project, "node_modules", ".bin", "vitest"), "run")
        writeFileSync(join(project, "otel.mjs"), withOpenTelemetry)
        assert.match(await run(project, process.execPath, "otel.mjs"), /^true true/)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }
})
