// `npm run check`: everything about the sources that can be known without running them.
import { spawnSync } from "node:child_process"
import { root } from "./rooms.mjs"

const node = process.execPath
const steps = [
  ["types", node, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"]],
  ["lint", node, ["node_modules/oxlint/bin/oxlint", "--deny-warnings"]],
  ["format", node, ["node_modules/dprint/bin.js", "check"]],
  ["imports", node, ["scripts/check-imports.mjs"]],
  ["shape", node, ["scripts/check-shape.mjs"]],
  ["exports", node, ["scripts/check-exports.mjs"]],
  ["index and exports", node, ["scripts/codegen.mjs", "--check"]],
  ["protobuf", node, ["scripts/generate-proto.mjs", "--check"]],
  ["kernels", node, ["scripts/build-wasm.mjs", "--check"]],
  ["references", node, ["scripts/check-references.mjs"]],
  ["docs", node, ["scripts/check-docs.mjs"]],
  ["package", node, ["scripts/check-package.mjs"]]
]

const only = process.argv.slice(2)
let failed = 0
for (const [name, command, args] of steps.filter(([name]) => only.length === 0 || only.includes(name))) {
  const started = performance.now()
  const done = spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const ok = done.status === 0
  if (!ok) failed++
  console.log(`${ok ? "ok  " : "FAIL"} ${name} (${seconds} s)`)
  if (!ok) console.log(`${done.stdout ?? ""}${done.stderr ?? ""}${done.error ? String(done.error) : ""}`.trimEnd())
}
if (failed > 0) process.exit(1)
