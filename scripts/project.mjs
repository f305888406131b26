// What the other scripts share: running a command, and a fingerprint of the sources.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join, relative } from "node:path"
import { root, sources } from "./rooms.mjs"

/** Runs a command in the project's folder and ends this process with its exit code if it fails. */
export const run = (command, args, options = {}) => {
  const done = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32",
    ...options
  })
  if (done.status !== 0) process.exit(done.status ?? 1)
}

/** A hash over everything that dist/ is made from. */
export const stamp = () => {
  const hash = createHash("sha256")
  for (const path of [...sources(), join(root, "tsconfig.json"), join(root, "tsconfig.build.json")]) {
    hash.update(relative(root, path)).update("\0").update(readFileSync(path)).update("\0")
  }
  return hash.digest("hex")
}
