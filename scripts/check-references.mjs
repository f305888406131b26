// Follows every reference: a file that a comment, a test or a document names is in the repository, and a section that it names
// is there; what documents link to is there as well. Documents that are not in the repository are cited nowhere.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { documents } from "./docs.mjs"
import { root } from "./rooms.mjs"

const under = (dir) =>
  readdirSync(dir).flatMap((name) => {
    const path = join(dir, name)
    if (name === "node_modules" || name === "gen" || name.startsWith("__")) return []
    return statSync(path).isDirectory() ? under(path) : [path]
  })

const texts = ["src", "test", "examples", "scripts", "scratchpad", "proto"].flatMap((dir) => under(join(root, dir)))
  .filter((path) => /\.(ts|mjs|js|py|md|proto)$/.test(path) && !path.endsWith(".generated.ts"))

const problems = []
const count = { files: 0, references: 0 }

/** The anchors of a document's headings, as GitHub forms them. */
const anchors = (() => {
  const known = new Map()
  return (path) => {
    if (!known.has(path)) {
      const headings = [...readFileSync(path, "utf8").replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ (.*)$/gm)]
      const slugs = headings.map(([, text]) =>
        text.toLowerCase().replace(/`/g, "").replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[^\p{L}\p{N} _-]/gu, "")
          .trim()
          .replace(/ /g, "-")
      )
      known.set(
        path,
        new Set(slugs.flatMap((slug, i) => {
          const before = slugs.slice(0, i).filter((other) => other === slug).length
          return [before === 0 ? slug : `${slug}-${before}`]
        }))
      )
    }
    return known.get(path)
  }
})()

const follow = (from, line, target, anchor) => {
  count.references++
  const at = `${relative(root, from)}:${line}`
  if (!existsSync(target)) problems.push(`${at}: ${relative(root, target)} is not there`)
  else if (anchor !== undefined && target.endsWith(".md") && !anchors(target).has(anchor)) {
    problems.push(`${at}: ${relative(root, target)} has no section #${anchor}`)
  }
}

/** Kinds of references to what is somewhere else. */
const foreign = [
  /\b(?:wire-protocol|server-semantics|drift)(?:\.md)? §?\d+(?:\.\d+)*\b/,
  /\b(?:cookbook|design|engine|features|measured|resilience|style)\.md §?[A-Z]?\d+(?:\.\d+)*\b/,
  /\bfeatures [A-C]\d+\b/,
  /\bspec\/[\w-]+\.md\b/,
  /\bissue #?\d+\b/i
]

for (const path of new Set([...texts, ...documents()])) {
  count.files++
  const document = path.endsWith(".md")
  let fenced = false
  readFileSync(path, "utf8").split("\n").forEach((text, i) => {
    const line = i + 1
    if (document && text.startsWith("```")) fenced = !fenced
    for (const pattern of foreign) {
      const match = pattern.exec(text)
      if (match !== null && !path.endsWith("check-references.mjs")) {
        problems.push(`${relative(root, path)}:${line}: "${match[0]}" is not in the repository`)
      }
    }
    // a document under docs/, with or without a section, wherever it is named
    for (const [, file, anchor] of text.matchAll(/(?<!\]\()(?<![\w/.-])(docs\/[\w./-]+\.md)(?:#([\w-]+))?/g)) {
      follow(path, line, join(root, file), anchor)
    }
    if (!document || fenced) return
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue
      const [file, anchor] = link.split("#")
      follow(path, line, file === "" ? path : resolve(dirname(path), file), anchor)
    }
  })
}

if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exit(1)
}
console.log(`references: ${count.references} in ${count.files} files lead somewhere`)
