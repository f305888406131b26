#!/usr/bin/env node
// Runs the built command line, or says how to build it.
import { existsSync } from "node:fs"

const main = new URL("../dist/cli/main.js", import.meta.url)
if (existsSync(main)) {
  await import(main.href)
} else {
  process.stderr.write(
    "tinkex is not built yet. In the clone, run: npm run build (or npm start, which installs and builds)\n"
  )
  process.exitCode = 1
}
