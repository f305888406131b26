/** The page of a report, whole in one text: style, script and data are in it. */
import { pageScript, pageStyle, plotScript, plotStyle } from "./reportAssets.generated.js"
import type { RunReport } from "./reportData.js"

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")

/** JSON that may stand inside a script element. */
const embedded = (value: unknown): string =>
  JSON.stringify(value).replaceAll("<", "\\u003c").replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029")

/** A script that ends its own element early would be read as markup. */
const script = (text: string): string => text.replaceAll("</script", "<\\/script")

const section = (id: string, title: string, box: string): string =>
  `<section id="${id}"><h2>${title}</h2><div id="${box}"></div></section>`

const keys: ReadonlyArray<readonly [string, string]> = [
  ["s", "smoothing"],
  ["l", "logarithmic axes"],
  ["x", "over steps, tokens or time"],
  ["t", "dark or light"],
  ["← →", "move the cursor in the curve that has the focus"],
  ["Tab", "next curve"]
]

/** No address but its own is asked for anything. */
const policy =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'"

export const page = (runs: ReadonlyArray<RunReport>, options: { readonly live: boolean }): string => {
  const title = escaped(runs.map(({ name }) => name).join(", "))
  return `<!doctype html>
<html lang="en"${options.live ? " data-live" : ""}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${title} – tinkex</title>
<link rel="icon" href="data:,">
<style>${plotStyle}</style>
<style>${pageStyle}</style>
</head>
<body>
<div class="bar">
<nav aria-label="parts of the report"><a href="#curves">Curves</a><a href="#time">Time</a><a href="#samples">Samples</a><a href="#datum">Data</a><a href="#checkpoints">Checkpoints</a><a href="#cost">Cost</a><a href="#health">Service</a><a href="#settings">Settings</a></nav>
<div class="tools">
<span id="state" role="status"></span>
<label>smoothing <input id="smoothing" type="range" min="0" max="0.99" step="0.01" value="0"></label>
<label><input id="log" type="checkbox"> log</label>
<label>over <select id="x"><option value="step">steps</option><option value="tokens">tokens</option><option value="time">seconds</option></select></label>
<button id="theme" type="button" aria-label="dark or light">◐</button>
<button id="help" type="button" aria-label="keys">?</button>
</div>
</div>
<dialog id="keys"><form method="dialog"><h2>Keys</h2>${
    keys.map(([key, what]) => `<p><kbd>${key}</kbd> ${what}</p>`).join("")
  }<button autofocus>close</button></form></dialog>
<main>
<div id="facts"></div>
<div id="resumebox"></div>
<section id="curves"></section>
${section("time", "Time", "timebox")}
${section("samples", "Samples", "samplebox")}
${section("datum", "The first example, as it is trained on", "datumbox")}
${section("checkpoints", "Checkpoints", "checkpointbox")}
${section("cost", "Tokens and cost", "costbox")}
${section("health", "The service, as this client saw it", "healthbox")}
${section("settings", "Settings", "settingbox")}
</main>
<script type="application/json" id="data">${embedded(runs)}</script>
<script>${script(plotScript)}</script>
<script>${script(pageScript)}</script>
</body>
</html>
`
}
