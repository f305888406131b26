// `npm start` and `npm test` on a fresh clone: installs what the lock file says, if it is not there, and builds, if the
// sources have changed. Imports nothing from node_modules.
import { createHash } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { run, stamp } from "./project.mjs"
import { root } from "./rooms.mjs"

const [major, minor] = process.versions.node.split(".").map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`tinkex needs Node 20.19 or newer; this is ${process.version}`)
  process.exit(1)
}

const read = (path) => existsSync(path) ? readFileSync(path, "utf8") : ""
const lock = createHash("sha256").update(read(join(root, "package-lock.json"))).digest("hex")
const installed = join(root, "node_modules", ".tinkex-lock")
if (read(installed) !== lock) {
  console.error("installing the locked dependencies …")
  run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { stdio: ["inherit", 2, 2] })
  writeFileSync(installed, lock)
}
if (read(join(root, "dist", ".stamp")) !== stamp()) {
  console.error("building …")
  run("node", ["scripts/build.mjs"], { stdio: ["inherit", 2, 2] })
}
