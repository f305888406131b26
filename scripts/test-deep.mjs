// `npm run test:deep [-- NAME...]`: the heavy tests in full size, one file after another. These are the files that read
// test/support/deep.ts, themselves or through what they import; everything else has been said by `npm test`.
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { root } from "./rooms.mjs"

const deep = join(root, "test", "support", "deep.ts")

const tests = (dir) =>
  readdirSync(dir).flatMap((name) => {
    const path = join(dir, name)
    return statSync(path).isDirectory() ? tests(path) : name.endsWith(".test.ts") ? [path] : []
  })

const scales = (path, seen = new Set()) => {
  if (path === deep) return true
  if (seen.has(path) || relative(join(root, "test"), path).startsWith("..") || !existsSync(path)) return false
  seen.add(path)
  return [...readFileSync(path, "utf8").matchAll(/from "(\.[^"]+)\.js"/g)]
    .some(([, specifier]) => scales(resolve(dirname(path), `${specifier}.ts`), seen))
}

const args = process.argv.slice(2)
const options = args.filter((arg) => arg.startsWith("-"))
const names = args.filter((arg) => !arg.startsWith("-"))
const heavy = tests(join(root, "test"))
  .filter((path) => scales(path))
  .map((path) => relative(root, path))
  .filter((path) => names.length === 0 || names.some((name) => path.includes(name)))

if (heavy.length === 0) {
  console.error(`no test that scales with TINKEX_DEEP is called ${names.join(" or ")}`)
  process.exit(1)
}
console.log(`in full size: ${heavy.join(", ")}`)
const done = spawnSync(
  process.execPath,
  ["node_modules/vitest/vitest.mjs", "run", "--no-file-parallelism", ...options, ...heavy],
  { cwd: root, stdio: "inherit", env: { ...process.env, TINKEX_DEEP: "1" } }
)
process.exit(done.status ?? 1)
