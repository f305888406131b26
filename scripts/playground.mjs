// `npm run test:playground [-- --screenshot FOLDER]`: builds the page that trains in a tab, opens it in Chromium, and holds what it
// promises: less than 2.5 MB, labels for every control, nothing asked of anybody, sixteen lessons of sixteen. Skipped with a line
// where no Chromium is installed.
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { buildPlayground } from "../site/playground/build.mjs"

const browser = ["chromium", "chromium-browser", "google-chrome"]
  .flatMap((name) => (process.env.PATH ?? "").split(delimiter).map((dir) => join(dir, name))).find(existsSync)
if (browser === undefined) {
  console.log("skipped: no Chromium is installed")
  process.exit(0)
}

/** What a visitor does, in the page; it tells this process how it went. */
const visitor = async () => {
  const find = (selector) => document.querySelector(selector)
  const until = async (what, holds) => {
    for (let i = 0; i < 6000; i++) {
      if (holds()) return
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`not within five minutes: ${what}; the page says "${find("#status").textContent}"`)
  }
  const said = {}
  try {
    const began = performance.now()
    await until("ready", () => !find("#train").disabled || /not be loaded/.test(find("#status").textContent))
    said.readyMs = performance.now() - began
    said.unlabelled = [...document.querySelectorAll("input, button")].filter((one) =>
      !one.hidden && one.tagName === "INPUT" && one.labels.length === 0 && !one.getAttribute("aria-label")
    ).length
    said.unreachable = [...document.querySelectorAll("input, button, a")].filter((one) => one.tabIndex < 0).length
    said.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth
    find("#train").focus()
    find("#train").click()
    await until("trained", () => /right after|failed|Stopped/.test(find("#status").textContent))
    said.status = find("#status").textContent
    said.points = find("#curve polyline").getAttribute("points").split(" ").length
    said.curve = find("#curve-title").textContent
    said.tab = { seconds: find("#tab-seconds").textContent, tokensPerSecond: find("#tab-rate").textContent }
    find("#question").value = find("#lessons input").value
    find("#ask").requestSubmit()
    await until("answered", () => find("#ask-after").textContent !== "–")
    said.before = find("#ask-before").textContent
    said.after = find("#ask-after").textContent
    said.taught = find("#lessons li input:nth-of-type(2)").value
    said.foreign = performance.getEntriesByType("resource").filter(({ name }) => !name.startsWith(location.origin)).length
  } catch (error) {
    said.error = String(error)
  }
  await fetch("/said", { method: "POST", body: JSON.stringify(said) })
}

const folder = mkdtempSync(join(tmpdir(), "tinkex-playground-"))
const types = { css: "text/css", html: "text/html", js: "text/javascript" }
const { nodeTimings, out, transferred } = await buildPlayground({ out: join(folder, "site") })

let told
const said = new Promise((resolve) => (told = resolve))
const asked = []
const server = createServer((request, response) => {
  if (request.method === "POST") {
    let text = ""
    request.on("data", (chunk) => (text += chunk)).on("end", () => {
      told(JSON.parse(text))
      response.end()
    })
    return
  }
  const name = new URL(request.url, "http://page").pathname.slice(1) || "index.html"
  asked.push(name)
  if (!existsSync(join(out, name))) return response.writeHead(404).end()
  response.setHeader("content-type", types[name.split(".").at(-1)] ?? "application/octet-stream")
  const text = readFileSync(join(out, name))
  response.end(name === "index.html" ? `${text}<script>onload = ${visitor}</script>` : text)
})
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const chromium = spawn(browser, [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--window-size=400,900",
  `--user-data-dir=${join(folder, "profile")}`,
  `http://127.0.0.1:${server.address().port}/`
], { stdio: "ignore" })
const slow = setTimeout(() => told({ error: "nothing was heard from the page within seven minutes" }), 420_000)
const result = await said
clearTimeout(slow)
chromium.kill("SIGKILL")
server.close()
await new Promise((resolve) => chromium.once("exit", resolve))
rmSync(folder, { recursive: true, force: true, maxRetries: 5 })

const promises = [
  ["under 2.5 MB are transferred", transferred < 2.5e6, `${(transferred / 1e6).toFixed(2)} MB`],
  ["the page says no error", result.error === undefined, result.error ?? "none"],
  ["every field has a label", result.unlabelled === 0, result.unlabelled],
  ["every control is reached by the keyboard", result.unreachable === 0, result.unreachable],
  ["nothing is wider than 400 px", result.wider === 0, result.wider],
  ["16 of 16 are right", /^16 of 16 right/.test(result.status ?? ""), result.status],
  ["the curve has a point for each step", result.points === 60, result.curve],
  ["a lesson is asked before and after", result.after === result.taught && result.before !== result.taught, `${result.before} / ${result.after}`],
  ["nothing is asked of anybody else", result.foreign === 0, result.foreign]
]
for (const [what, holds, seen] of promises) console.log(`${holds ? "ok  " : "FAIL"} ${what}: ${seen}`)
const { seconds, tokensPerSecond } = result.tab ?? {}
console.log(`tab: ${seconds} s, ${tokensPerSecond} tokens/s; Node: ${nodeTimings?.seconds.toFixed(1)} s, ${Math.round(nodeTimings?.tokensPerSecond ?? 0)} tokens/s`)
process.exit(promises.every(([, holds]) => holds) ? 0 : 1)
