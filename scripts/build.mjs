// Builds dist/: plain tsc, ESM, made beside and put in place when it is whole. The stamp in it lets prepare.mjs see
// whether the sources have changed since.
import { renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { run, stamp } from "./project.mjs"
import { root } from "./rooms.mjs"

const fresh = join(root, "dist.new")
rmSync(fresh, { recursive: true, force: true })
run("node", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json", "--outDir", fresh])
writeFileSync(join(fresh, ".stamp"), stamp())
rmSync(join(root, "dist"), { recursive: true, force: true })
renameSync(fresh, join(root, "dist"))
