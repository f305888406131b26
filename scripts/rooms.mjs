// The rooms of src/ and who may import whom (docs/architecture.md). One table serves the import check and the code
// generation of the public surface.
import { existsSync, readdirSync, statSync } from "node:fs"
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
  const recipes = [...runs, "runs"]
  const Tinkex = [...recipes, "recipes"]
  const index = [...Tinkex, "Tinkex"]
  const server = ["engine", "observability", "tokenizer", "protocol", "node"]
  const doors = [...index, "server", ...server]
  const NodeTinkex = Tinkex.concat("Tinkex", "node")
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
    recipes,
    Tinkex,
    index,
    engine: [],
    // What only Node has, and knows nothing of Tinker.
    node: [],
    server,
    NodeTinkex,
    gateway: [...client, "client"],
    promise: [...client, "client"],
    // Optional peers: reached by subpath alone.
    ai: [...client, "client"],
    // It talks to any server, and must not see it with the eyes of our client.
    conformance: ["protocol"],
    LocalTinkex: [...doors, "NodeTinkex"],
    testing: [...doors, "NodeTinkex", "LocalTinkex"],
    cli: [...doors, "NodeTinkex", "LocalTinkex", "testing", "conformance", "gateway"]
  }
})()

/**
 * Rooms that are laid out in floors: a file may import only what lies on its own floor or on those behind it in the list. Files
 * of the room itself that stand above the floors are named; the others lie below them.
 */
export const floors = {
  server: {
    above: ["NodeServer", "Server"],
    order: ["app", "routes", "samplers", "runs", "futures", "checkpoints", "sessions", "http"]
  }
}

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
  "recipes",
  "conformance",
  "gateway",
  "promise",
  "ai",
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
  "recipes",
  "conformance",
  "gateway",
  "ai"
]

/**
 * The public surface has two tiers. Modules for those who train and sample are reached flat, `tinkex/TrainingClient`; modules
 * for those who build on the parts by their room, `tinkex/resilience/RateLimiter`. A room in this table belongs to the
 * second tier, but for the modules that it names.
 */
export const builderRooms = {
  protocol: ["Checkpoint", "Datum", "InvalidInput", "ModelInput", "Sampling", "TensorData", "TinkerPath"],
  resilience: [],
  engine: [],
  server: [],
  ai: []
}

/** Modules of the other rooms that belong to the second tier too. */
export const builderModules = [
  "observability/MetricSnapshot",
  "observability/QuantileSketch",
  "observability/Spans",
  "observability/Summary",
  "tokenizer/TokenizerError",
  "tokenizer/TokenizerSource",
  "chat/RendererError",
  "client/HttpTransport",
  "client/TelemetryReporter"
]

/** Public modules of rooms that are not public as a whole: what is put behind the embedded server, and the server itself. */
export const publicParts = [
  "engine/Engine",
  "engine/EngineOptions",
  "engine/host/InProcessEngine",
  "engine/host/WorkerEngine",
  "server/NodeServer",
  "server/Server",
  "server/ServerConfig",
  "server/checkpoints/CheckpointError",
  "server/checkpoints/CheckpointStore"
]

/** Not in src/index.ts, though they run everywhere: they would slow down every import of the package. */
export const apartFromIndex = ["TinkerApi", "Conformance", "Gateway", "LiveReport", "Pipeline"]

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

/** `tinkex/TrainingClient` for a module of the first tier, `tinkex/protocol/Json` for one of the second. */
const subpathOf = (room, name) =>
  (builderRooms[room] !== undefined && !builderRooms[room].includes(name)) || builderModules.includes(`${room}/${name}`)
    ? `${room}/${name}`
    : name

/**
 * Public modules of src/ in reading order: `{ name, room, path, subpath, indexed }`. `subpath` is the path after `tinkex/`,
 * `indexed` says whether src/index.ts exports it.
 */
export const publicModules = () => {
  const at = (room, path, indexed) => {
    const name = path.slice(path.lastIndexOf(sep) + 1, -3)
    return { name, room, path, subpath: subpathOf(room, name), indexed: indexed && !apartFromIndex.includes(name) }
  }
  const of = (room, dir, indexed) =>
    existsSync(dir)
      ? readdirSync(dir).filter((name) => /^[A-Z][A-Za-z0-9]*\.ts$/.test(name)).sort()
        .map((name) => at(room, join(dir, name), indexed))
      : []
  const doors = ["LocalTinkex", "NodeTinkex"]
  const top = of("", src, true)
  return [
    ...publicRooms.flatMap((room) => of(room, join(src, room), platformNeutral.includes(room) && room !== "ai")),
    ...top.filter(({ name }) => !doors.includes(name)),
    ...top.filter(({ name }) => doors.includes(name)).map((module) => ({ ...module, indexed: false })),
    { ...at("testing", join(src, "testing", "index.ts"), false), name: "testing", subpath: "testing" },
    { ...at("promise", join(src, "promise", "index.ts"), false), name: "promise", subpath: "promise" },
    ...publicParts.map((part) => at(part.split("/")[0], join(src, `${part}.ts`), false))
  ]
}
