// Builds dist/: plain tsc, ESM, made beside and put in place when it is whole. Comments stay in the declarations, where editors
// show them, and leave the code, but for what bundlers read. The stamp in it lets prepare.mjs see whether the sources have
// changed since.
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"
import { run, stamp } from "./project.mjs"
import { files, root } from "./rooms.mjs"

const fresh = join(root, "dist.new")
rmSync(fresh, { recursive: true, force: true })
run("node", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json", "--outDir", fresh])
const printer = ts.createPrinter({ removeComments: true })
for (const path of files(fresh)) {
  if (!path.endsWith(".js") || path.endsWith(".generated.js")) continue
  const text = readFileSync(path, "utf8")
  if (text.includes("@__PURE__")) continue
  writeFileSync(path, printer.printFile(ts.createSourceFile(path, text, ts.ScriptTarget.ES2022)))
}
writeFileSync(join(fresh, ".stamp"), stamp())
rmSync(join(root, "dist"), { recursive: true, force: true })
renameSync(fresh, join(root, "dist"))
