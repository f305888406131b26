// Builds dist/: plain tsc, ESM. The stamp in dist/ lets prepare.mjs see whether the sources have changed since.
import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { run, stamp } from "./project.mjs"
import { root } from "./rooms.mjs"

rmSync(join(root, "dist"), { recursive: true, force: true })
run("node", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"])
writeFileSync(join(root, "dist", ".stamp"), stamp())
