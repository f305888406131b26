import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const dist = join(root, "dist")

interface Rooms {
  readonly apartFromIndex: ReadonlyArray<string>
  readonly platformNeutral: ReadonlyArray<string>
  readonly publicRooms: ReadonlyArray<string>
}

// a script without types
const load = async (): Promise<Rooms> => await import(pathToFileURL(`${root}/scripts/rooms.mjs`).href)

const exportsMap = (): Record<string, string | { readonly types: string; readonly default: string }> =>
  JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports

/** Every module URL that Node resolves while it imports `entry`, seen from a loader hook. */
const loadedBy = (entry: string): ReadonlyArray<string> => {
  const hook = `import { writeSync } from "node:fs"
export const resolve = async (specifier, context, next) => {
  const result = await next(specifier, context)
  writeSync(1, result.url + "\\n")
  return result
}`
  const program = `import { register } from "node:module"
register("data:text/javascript," + ${JSON.stringify(encodeURIComponent(hook))})
await import(${JSON.stringify(pathToFileURL(join(dist, entry)).href)})`
  const output = execFileSync(process.execPath, ["--input-type=module", "-e", program], {
    encoding: "utf8",
    maxBuffer: 1 << 26
  })
  return [...new Set(output.split("\n").filter((line) => line !== ""))]
}

describe("the public surface", () => {
  it("importing tinkex loads no node: module, no server and no engine", () => {
    const urls = loadedBy("index.js")
    assert.isTrue(urls.some((url) => url.endsWith("/dist/client/TrainingClient.js")), "the hook saw nothing")
    const wrong = urls.filter((url) =>
      url.startsWith("node:") || /\/dist\/(server|engine|testing|cli|LocalTinkex|NodeTinkex)[/.]/.test(url) ||
      url.includes("/@effect/platform-node")
    )
    assert.deepStrictEqual(wrong, [])
  })

  it("index.ts exports every public, platform-neutral module, and nothing else", async () => {
    const index = readFileSync(join(root, "src", "index.ts"), "utf8")
    const exported = [...index.matchAll(/export \* as (\w+) from "\.\/([\w/]+)\.js"/g)].map((match) => match[2])
    const { apartFromIndex, platformNeutral, publicRooms } = await load()
    const modules = (room: string) =>
      readdirSync(join(root, "src", room)).filter((name) => /^[A-Z]\w*\.ts$/.test(name)).map((name) =>
        name.slice(0, -3)
      )
    const expected = [
      ...publicRooms.filter((room) => platformNeutral.includes(room) && room !== "ai").flatMap((room) =>
        modules(room).filter((name) => !apartFromIndex.includes(name)).map((name) => `${room}/${name}`)
      ),
      "Tinkex",
      "TinkexConfig",
      "TinkexError"
    ]
    assert.deepStrictEqual([...exported].sort(), expected.sort())
  })

  it("has two tiers: flat for users, by room for those who build on the parts", () => {
    const subpaths = Object.keys(exportsMap()).map((path) => path.slice(2)).filter((path) => /^\w/.test(path))
    const flat = subpaths.filter((path) => !path.includes("/") && path !== "package.json")
    assert.includeMembers(flat, ["TrainingClient", "ServiceClient", "Datum", "Metrics", "LocalTinkex", "testing"])
    assert.includeMembers(subpaths, [
      "engine/Engine",
      "engine/EngineOptions",
      "protocol/Json",
      "resilience/RateLimiter",
      "server/CheckpointStore",
      "server/NodeServer",
      "server/Server",
      "server/ServerConfig"
    ])
    // the wire is none of the users' business
    assert.notIncludeMembers(flat, ["ForwardBackwardCodec", "Json", "Routes", "TelemetryEvents"])
    const listed = readFileSync(join(root, "docs", "modules.md"), "utf8")
    for (const path of subpaths.filter((path) => path !== "package.json")) assert.include(listed, `\`tinkex/${path}\``)
  })

  it("every subpath of the exports map exists in the build, and nothing internal is among them", () => {
    for (const [subpath, target] of Object.entries(exportsMap())) {
      assert.notInclude(subpath, "internal")
      assert.notInclude(subpath, "*")
      for (const file of typeof target === "string" ? [target] : [target.types, target.default]) {
        assert.isTrue(existsSync(join(root, file)), `${subpath}: ${file} is not there`)
      }
    }
  })
})
