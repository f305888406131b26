// The rooms of src/ and who may import whom (docs/architecture.md). One table serves the import check and the code
// generation of the public surface.
import { readdirSync, statSync } from "node:fs"
import { join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("..", import.meta.url)).replace(/[\\/]$/, "")
export const src = join(root, "src")

/** What each room may import, besides itself. */
export const allowed = (() => {
  const protocol = []
  const resilience = [...protocol, "protocol"]
  const TinkexError = [...resilience, "resilience"]
  const observability = [...TinkexError, "TinkexError"]
  const tokenizer = [...observability, "observability"]
  const TinkexConfig = [...tokenizer, "tokenizer"]
  const chat = [...TinkexConfig]
  const client = [...TinkexConfig, "TinkexConfig", "chat"]
  const training = [...client, "client"]
  const runs = [...training, "training"]
  const Tinkex = [...runs, "runs"]
  const index = [...Tinkex, "Tinkex"]
  const server = ["engine", "observability", "tokenizer", "protocol"]
  const doors = [...index, "server", ...server]
  const NodeTinkex = Tinkex.concat("Tinkex")
  return {
    protocol,
    // Generic: it knows nothing of Tinker.
    resilience: [],
    TinkexError,
    observability,
    tokenizer,
    TinkexConfig,
    chat,
    client,
    training,
    runs,
    Tinkex,
    index,
    engine: [],
    server,
    NodeTinkex,
    // It talks to any server, and must not see it with the eyes of our client.
    conformance: ["protocol"],
    LocalTinkex: [...doors, "NodeTinkex"],
    testing: [...doors, "NodeTinkex", "LocalTinkex"],
    cli: [...doors, "NodeTinkex", "LocalTinkex", "testing", "conformance"]
  }
})()

/** Rooms and front doors from which no `node:` module and no platform-node may be reached. */
export const platformNeutral = [
  "protocol",
  "resilience",
  "TinkexError",
  "observability",
  "tokenizer",
  "TinkexConfig",
  "chat",
  "client",
  "training",
  "runs",
  "conformance",
  "Tinkex",
  "index"
]

/** Rooms whose PascalCase modules are public, in reading order. */
export const publicRooms = [
  "protocol",
  "resilience",
  "observability",
  "tokenizer",
  "chat",
  "client",
  "training",
  "runs",
  "conformance"
]

export const files = (dir = src) =>
  readdirSync(dir).flatMap((name) => {
    const path = join(dir, name)
    return statSync(path).isDirectory() ? files(path) : [path]
  })

/** The room a source file belongs to: its first folder, or its own name at the top level. */
export const roomOf = (path) => relative(src, path).split(sep)[0].replace(/\.ts$/, "")

export const sources = () =>
  files().filter((path) =>
    path.endsWith(".ts") && !relative(src, path).startsWith(join("engine", "kernels", "assembly"))
  ).sort()

/** Public modules of src/: `{ name, room, path }`, in reading order. */
export const publicModules = () => {
  const of = (room, dir) =>
    readdirSync(dir)
      .filter((name) => /^[A-Z][A-Za-z0-9]*\.ts$/.test(name))
      .sort()
      .map((name) => ({ name: name.slice(0, -3), room, path: join(dir, name) }))
  return [
    ...publicRooms.flatMap((room) => of(room, join(src, room))),
    ...of("", src).filter(({ name }) => name !== "LocalTinkex" && name !== "NodeTinkex")
  ]
}
