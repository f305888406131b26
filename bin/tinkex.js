#!/usr/bin/env node
// Runs the built command line, or says how to build it. The version alone needs none of it.
import { existsSync } from "node:fs"

const main = new URL("../dist/cli/main.js", import.meta.url)
const args = process.argv.slice(2)
if (!existsSync(main)) {
  process.stderr.write(
    "tinkex is not built yet. In the clone, run: npm run build (or npm start, which installs and builds)\n"
  )
  process.exitCode = 1
} else if (args.length === 1 && args[0] === "--version") {
  const { version } = await import("../dist/protocol/Version.js")
  process.stdout.write(`${version}\n`)
} else {
  await import(main.href)
}
