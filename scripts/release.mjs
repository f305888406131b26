// `npm run release -- <major | minor | patch | x.y.z> [--dry-run]`: everything up to the publication of a version.
//
// Version in package.json, the lock file and the sources; the section "Unreleased" of CHANGELOG.md under the new version;
// checks, build, tests; a look into the package and its provenance settings; commit and tag. Publishing itself is left to CI,
// where npm can sign where the package comes from. With --dry-run nothing is written, committed or tagged.
// Without --dry-run, whatever fails puts the files back.
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { root } from "./rooms.mjs"

const form = /^(\d+)\.(\d+)\.(\d+)(?:-[0-9A-Za-z.-]+)?$/

/** The version that follows `current`: by its part that grows, or as given. */
export const nextVersion = (current, wanted) => {
  const [, major, minor, patch] = (form.exec(current) ?? []).map(Number)
  if (major === undefined) throw new Error(`package.json: ${current} is no version`)
  if (wanted === "major") return `${major + 1}.0.0`
  if (wanted === "minor") return `${major}.${minor + 1}.0`
  if (wanted === "patch") return `${major}.${minor}.${patch + 1}`
  if (!form.test(wanted ?? "")) throw new Error("expected major, minor, patch or a version such as 1.2.3")
  return wanted
}

/** The changelog with its section "Unreleased" named after the version; a section of that name is taken as it is. */
export const releasedChangelog = (text, version, date) => {
  const sections = text.split(/^(?=## )/m)
  const titleOf = (section) => /^## (.*)$/m.exec(section)?.[1]?.trim() ?? ""
  const at = sections.findIndex((section) => titleOf(section).toLowerCase() === "unreleased")
  const named = sections.findIndex((section) => titleOf(section).split(" ")[0] === version)
  const found = at >= 0 ? at : named
  if (found < 0) throw new Error("CHANGELOG.md: expected a section \"## Unreleased\" with what has changed")
  if (at >= 0 && named >= 0) throw new Error(`CHANGELOG.md: has a section of ${version} already`)
  const body = sections[found].slice(sections[found].indexOf("\n") + 1)
  if (body.trim() === "") throw new Error(`CHANGELOG.md: the section "${titleOf(sections[found])}" is empty`)
  sections[found] = `## ${version} (${date})\n${body}`
  return sections.join("")
}

/** A package.json or package-lock.json with the version, as it was otherwise. */
export const withVersion = (text, version) => {
  const json = JSON.parse(text)
  json.version = version
  if (json.packages?.[""] !== undefined) json.packages[""].version = version
  return `${JSON.stringify(json, null, 2)}\n`
}

/** What must hold for a package whose origin npm can vouch for. */
export const provenanceProblems = (manifest) => [
  ...(manifest.publishConfig?.provenance === true ? [] : ["publishConfig.provenance is not true"]),
  ...(manifest.publishConfig?.access === "public" ? [] : ["publishConfig.access is not public"]),
  ...(manifest.repository?.url?.startsWith("git+https://") ? [] : ["repository.url is no git+https URL"]),
  ...(manifest.license ? [] : ["there is no license"]),
  ...(manifest.private === true ? ["it is private"] : [])
]

const main = () => {
  const args = process.argv.slice(2)
  const dry = args.includes("--dry-run")
  const wanted = args.find((arg) => !arg.startsWith("--"))
  const path = (name) => join(root, name)
  const run = (command, args, capture = false) => {
    console.error(`$ ${[command, ...args].join(" ")}`)
    const done = spawnSync(command, args, {
      cwd: root,
      encoding: "utf8",
      stdio: capture ? ["ignore", "pipe", "inherit"] : ["ignore", 2, "inherit"],
      maxBuffer: 1 << 28,
      shell: process.platform === "win32"
    })
    if (done.status !== 0) throw new Error(`${command} ${args.join(" ")} failed`)
    return done.stdout ?? ""
  }

  const manifest = JSON.parse(readFileSync(path("package.json"), "utf8"))
  const version = nextVersion(manifest.version, wanted)
  const tag = `v${version}`
  const problems = provenanceProblems(manifest)
  if (problems.length > 0) throw new Error(`package.json: ${problems.join("; ")}`)
  if (run("git", ["tag", "--list", tag], true).trim() !== "") {
    if (!dry) throw new Error(`the tag ${tag} is there already`)
    console.log(`the tag ${tag} is there already: without --dry-run this would end here`)
  }
  if (!dry && run("git", ["status", "--porcelain"], true).trim() !== "") {
    throw new Error("there are changes that are not committed")
  }

  const date = new Date().toISOString().slice(0, 10)
  const edits = new Map([
    ["CHANGELOG.md", (text) => releasedChangelog(text, version, date)],
    ["package.json", (text) => withVersion(text, version)],
    ["package-lock.json", (text) => withVersion(text, version)],
    // the install line, if it names a version
    ["README.md", (text) => text.replaceAll(`tinkex@${manifest.version}`, `tinkex@${version}`)]
  ])
  const before = new Map()
  const after = new Map()
  for (const [name, edit] of edits) {
    if (!existsSync(path(name))) continue
    const text = readFileSync(path(name), "utf8")
    const edited = edit(text)
    if (edited === text) continue
    before.set(name, text)
    after.set(name, edited)
  }
  const generated = join("src", "protocol", "Version.ts")
  before.set(generated, readFileSync(path(generated), "utf8"))

  if (dry) {
    console.log(`${manifest.version} -> ${version}`)
    for (const name of after.keys()) console.log(`would write ${name}`)
    console.log("would run codegen, check, build and tests")
  } else {
    for (const [name, text] of after) writeFileSync(path(name), text)
  }
  try {
    if (!dry) {
      run(process.execPath, ["scripts/codegen.mjs"])
      run(process.execPath, ["scripts/check.mjs"])
      run(process.execPath, ["scripts/prepare.mjs"])
      run("npm", ["test"])
    }
    const [pack] = JSON.parse(run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], true))
    const files = pack.files.map((file) => file.path)
    for (const needed of ["package.json", "README.md", "LICENSE", "CHANGELOG.md", "bin/tinkex.js", "dist/index.js"]) {
      if (!files.includes(needed)) throw new Error(`the package has no ${needed}`)
    }
    const stray = files.filter((name) => /(^|\/)(test|scratchpad|node_modules)\/|\.tsbuildinfo$|(^|\/)\.env/.test(name))
    if (stray.length > 0) throw new Error(`the package has ${stray.slice(0, 5).join(", ")}`)
    console.log(`package: ${files.length} files, ${(pack.size / 1e6).toFixed(1)} MB packed`)
    if (dry) {
      console.log(`would commit "release: ${tag}" and tag ${tag}`)
      return
    }
    const changed = run("git", ["diff", "--name-only"], true).trim().split("\n").filter((name) => name !== "")
    run("git", ["add", "--", ...changed])
    run("git", ["commit", "-m", `release: ${tag}`])
    run("git", ["tag", "-a", tag, "-m", tag])
    console.log(`released ${tag} here; "git push --follow-tags" hands it to CI, which publishes with provenance`)
  } catch (error) {
    if (!dry) { for (const [name, text] of before) writeFileSync(path(name), text) }
    throw error
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  try {
    main()
  } catch (error) {
    console.error(`release: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
