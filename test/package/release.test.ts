import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath, pathToFileURL } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

interface Release {
  readonly nextVersion: (current: string, wanted: string | undefined) => string
  readonly releasedChangelog: (text: string, version: string, date: string) => string
  readonly withVersion: (text: string, version: string) => string
  readonly provenanceProblems: (manifest: object) => ReadonlyArray<string>
}

// a script without types
const load = async (): Promise<Release> => await import(pathToFileURL(`${root}/scripts/release.mjs`).href)

describe("release", () => {
  it("counts versions", async () => {
    const { nextVersion } = await load()
    assert.strictEqual(nextVersion("1.2.3", "major"), "2.0.0")
    assert.strictEqual(nextVersion("1.2.3", "minor"), "1.3.0")
    assert.strictEqual(nextVersion("1.2.3", "patch"), "1.2.4")
    assert.strictEqual(nextVersion("1.2.3", "2.0.0-rc.1"), "2.0.0-rc.1")
    for (const bad of [undefined, "soon", "1.2"]) assert.throws(() => nextVersion("1.2.3", bad), /expected major/)
  })

  it("names the changelog's section, which must say something", async () => {
    const { releasedChangelog } = await load()
    const text = "# Changelog\n\n## Unreleased\n\n- more\n\n## 0.1.0\n\n- first\n"
    assert.strictEqual(
      releasedChangelog(text, "0.2.0", "2026-01-01"),
      "# Changelog\n\n## 0.2.0 (2026-01-01)\n\n- more\n\n## 0.1.0\n\n- first\n"
    )
    assert.include(releasedChangelog("# C\n\n## 0.1.0\n\n- first\n", "0.1.0", "2026-01-01"), "## 0.1.0 (2026-01-01)\n")
    assert.throws(() => releasedChangelog(text, "0.1.0", "d"), /already/)
    assert.throws(() => releasedChangelog("# C\n\n## Unreleased\n\n## 0.1.0\n\n- a\n", "0.2.0", "d"), /empty/)
    assert.throws(() => releasedChangelog("# C\n", "0.2.0", "d"), /expected a section/)
  })

  it("changes the version and nothing else", async () => {
    const { withVersion } = await load()
    for (const name of ["package.json", "package-lock.json"]) {
      const text = readFileSync(`${root}/${name}`, "utf8")
      const { version } = JSON.parse(text)
      assert.strictEqual(withVersion(text, version), text)
      const lines = text.split("\n")
      const changed = withVersion(text, "99.0.0").split("\n").filter((line, i) => line !== lines[i])
      assert.deepStrictEqual(changed.map((line) => line.trim()), changed.map(() => "\"version\": \"99.0.0\","))
      assert.isAtMost(changed.length, 2)
    }
  })

  it("wants a package whose origin can be proven", async () => {
    const { provenanceProblems } = await load()
    assert.deepStrictEqual(provenanceProblems(JSON.parse(readFileSync(`${root}/package.json`, "utf8"))), [])
    assert.lengthOf(provenanceProblems({ private: true }), 5)
  })

  it("a dry run looks at everything and writes nothing", () => {
    const before = readFileSync(`${root}/package.json`, "utf8")
    const [major, minor] = JSON.parse(before).version.split(".").map(Number)
    const next = `${major}.${minor + 1}.0`
    const out = execFileSync(process.execPath, ["scripts/release.mjs", next, "--dry-run"], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"]
    })
    assert.match(out, /package: \d+ files/)
    assert.match(out, /would commit "release: v/)
    assert.strictEqual(readFileSync(`${root}/package.json`, "utf8"), before)
  })
})
