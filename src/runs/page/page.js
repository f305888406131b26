/* The page of a run: draws what stands in #data, and what a live page sends after it. No framework, no network. */
const uPlot = globalThis.uPlot
const $ = (id) => document.getElementById(id)
const el = (tag, attributes = {}, ...children) => {
  const node = tag === "svg" || tag === "rect" || tag === "text" || tag === "line" || tag === "title" || tag === "g"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag)
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(key, value)
  node.append(...children.filter((child) => child !== undefined && child !== ""))
  return node
}
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
const palette = ["#3b73e0", "#d9662b", "#2f9e62", "#a355c7", "#c2456b", "#1b95a8", "#98801f", "#6d6f78"]
const number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–"
  const size = Math.abs(value)
  if (value === 0) return "0"
  if (Number.isInteger(value) && size < 1e6) return String(value)
  return size >= 1e6 || size < 1e-3 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(4)))
}
/** In tables, where there is room. */
const count = (value) => Number.isInteger(value) && Math.abs(value) >= 1e5 ? value.toLocaleString("en-US") : number(value)
const seconds = (value) => value >= 1 ? `${value.toFixed(2)} s` : value >= 1e-3 ? `${(value * 1e3).toFixed(1)} ms` : `${(value * 1e6).toFixed(0)} µs`
const when = (millis) => millis === undefined ? "" : new Date(millis).toLocaleString()

let runs = JSON.parse($("data").textContent)
const live = document.documentElement.dataset.live !== undefined
const settings = { smoothing: 0, log: false, x: "step" }
const charts = new Map()

/* Curves */
const first = ["train_mean_nll", "loss:sum", "reward/total", "env/all/reward/total", "test/nll", "learning_rate", "unclipped_grad_l2:mean", "tokens/s"]
const rank = (key) => {
  const at = first.indexOf(key)
  return at >= 0 ? at : /^(test|env|reward|optim|dpo|accuracy|margin)/.test(key) ? 50 : /^(tokens|cost|time|num_|progress|epoch|clock)/.test(key) ? 200 : 100
}
const smooth = (values) => {
  const weight = settings.smoothing
  if (weight === 0) return values
  let mean = 0
  let mass = 0
  return values.map((value) => {
    if (value === null || value === undefined) return value
    mean = weight * mean + (1 - weight) * value
    mass = weight * mass + (1 - weight)
    return mean / mass
  })
}
const axisOf = (run, curve) => {
  if (settings.x === "step") return curve.x
  const source = run.series[settings.x === "tokens" ? "tokens/cumulative/trained" : "time/step"]
  if (source === undefined) return curve.x
  const at = new Map(source.x.map((x, i) => [x, source.y[i]]))
  if (settings.x === "tokens") return curve.x.map((x) => at.get(x) ?? null)
  const width = source.x.length > 1 ? source.x[1] - source.x[0] : 1
  let sum = 0
  const times = new Map(source.x.map((x, i) => [x, sum += source.y[i] * width]))
  return curve.x.map((x) => times.get(x) ?? null)
}
const tableOf = (key) => {
  const tables = []
  const series = [{}]
  runs.forEach((run, r) => {
    const curve = run.series[key]
    if (curve === undefined || curve.x.length === 0) return
    const color = palette[r % palette.length]
    const x = axisOf(run, curve)
    const keep = x.map((value) => value !== null)
    const only = (values) => values.filter((_, i) => keep[i])
    const columns = [only(x), only(smooth(curve.y))]
    series.push({ label: run.name, stroke: color, width: 1.6, points: { show: curve.x.length < 40, size: 4 } })
    if (runs.length === 1 && curve.low !== undefined) {
      columns.push(only(curve.high), only(curve.low))
      series.push({ label: "most", stroke: "transparent", points: { show: false } }, { label: "least", stroke: "transparent", points: { show: false } })
    } else if (settings.smoothing > 0) {
      columns.push(only(curve.y))
      series.push({ label: "raw", stroke: color + "44", width: 1, points: { show: false } })
    }
    tables.push(columns)
  })
  return { series, data: tables.length === 1 ? tables[0] : uPlot.join(tables) }
}
const marks = (u) => {
  if (settings.x !== "step") return
  const { ctx } = u
  ctx.save()
  ctx.setLineDash([4, 4])
  ctx.lineWidth = devicePixelRatio
  runs.forEach((run, r) => run.resumes.forEach(({ step }) => {
    const x = u.valToPos(step, "x", true)
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return
    ctx.strokeStyle = runs.length === 1 ? style("--warn") : palette[r % palette.length]
    ctx.beginPath()
    ctx.moveTo(x, u.bbox.top)
    ctx.lineTo(x, u.bbox.top + u.bbox.height)
    ctx.stroke()
  }))
  ctx.restore()
}
const drawChart = (key, box, output) => {
  const { series, data } = tableOf(key)
  const soft = style("--soft")
  const line = style("--line")
  const positive = data.slice(1).every((column) => column.every((value) => value === null || value === undefined || value > 0))
  const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" }
  const u = new uPlot({
    width: Math.max(200, box.clientWidth),
    height: 190,
    series,
    bands: runs.length === 1 && series.length === 4 ? [{ series: [2, 3], fill: palette[0] + "22" }] : [],
    scales: { x: { time: false }, y: { distr: settings.log && positive ? 3 : 1 } },
    axes: [{ ...axis, size: 26 }, { ...axis, size: 58, values: (_, values) => values.map((value) => value === null ? "" : number(value)) }],
    cursor: { sync: { key: "x" }, points: { size: 6 } },
    legend: { show: false },
    hooks: {
      draw: [marks],
      setCursor: [(u) => {
        const i = u.cursor.idx
        const at = i === null || i === undefined ? u.data[0].length - 1 : i
        const shown = u.series.flatMap((one, s) => s > 0 && !["most", "least", "raw"].includes(one.label) ? [number(u.data[s][at])] : [])
        output.textContent = u.data[0].length === 0 ? "" : `${number(u.data[0][at])}: ${shown.join("  ")}`
      }]
    }
  }, data, box)
  u.setCursor({ left: -10, top: -10 })
  box.onkeydown = (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9, PageUp: -20, PageDown: 20 }[event.key]
    if (move === undefined) return
    event.preventDefault()
    const last = u.data[0].length - 1
    const at = Math.min(last, Math.max(0, (u.cursor.idx ?? last) + move))
    u.setCursor({ left: u.valToPos(u.data[0][at], "x"), top: 20 })
  }
  return u
}
const drawCharts = () => {
  for (const chart of charts.values()) chart.destroy()
  charts.clear()
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.series)))].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
  const open = $("more")?.open ?? false
  const main = el("div", { class: "charts" })
  const rest = el("div", { class: "charts" })
  const more = el("details", { id: "more" }, el("summary", {}, "Counts, times and cost"), rest)
  more.open = open
  $("curves").replaceChildren(main, more)
  const pending = []
  for (const key of keys) {
    const output = el("output")
    const box = el("div", { tabindex: "0", role: "img", "aria-label": `${key}; arrow keys move the cursor` })
    ;(rank(key) < 200 ? main : rest).append(el("div", { class: "chart" }, el("h3", {}, el("span", {}, key), output), box))
    pending.push([key, box, output, rank(key) < 200])
  }
  const draw = (all) => {
    for (const [key, box, output, shown] of pending) if (shown === all) charts.set(key, drawChart(key, box, output))
  }
  draw(true)
  if (open) draw(false)
  more.ontoggle = () => {
    if (more.open && pending.some(([key, , , shown]) => !shown && !charts.has(key))) draw(false)
  }
  if (pending.length === 0) main.append(el("p", {}, "No step is done yet."))
}

/* Time */
const spanColors = { "prepare": "#2f9e62", "wait for batch": "#98801f", "evaluate": "#a355c7", "journal": "#c2456b", "submit": "#1b95a8", "wait": "#3b73e0" }
const absolute = (one, from) => one.spans.map((span) => ({ ...span, step: one.step, a: (one.start ?? 0) - from + span.wall_start, b: (one.start ?? 0) - from + span.wall_end }))
/* When nothing was handed in and not done: what the client did meanwhile gives the gap its name. */
const gapsOf = (spans) => {
  const busy = []
  const steps = new Map()
  for (const span of spans) {
    const one = steps.get(span.step) ?? { a: Infinity, b: -Infinity }
    if (span.name === "submit") one.a = Math.min(one.a, span.a)
    if (span.name === "wait") one.b = Math.max(one.b, span.b)
    steps.set(span.step, one)
  }
  for (const [step, { a, b }] of steps) if (a < b) busy.push({ a, b, step })
  busy.sort((p, q) => p.a - q.a)
  const gaps = []
  let end = busy[0]?.b
  for (let i = 1; i < busy.length; i++) {
    const { a, b, step } = busy[i]
    if (a > end) {
      let name = "between steps"
      let most = (a - end) * 0.25
      for (const span of spans) {
        if (span.name === "submit" || span.name === "wait") continue
        const shared = Math.min(a, span.b) - Math.max(end, span.a)
        if (shared > most) [name, most] = [span.name, shared]
      }
      gaps.push({ a: end, b: a, name, step })
    }
    end = Math.max(end, b)
  }
  return gaps
}
let timeAt
const drawTime = () => {
  const run = runs[0]
  const all = run?.timeline ?? []
  const box = $("timebox")
  if (all.length === 0) return box.replaceChildren(el("p", {}, "No step is done yet."))
  const shown = Math.min(12, all.length)
  const last = all.length - shown
  const at = timeAt === undefined ? last : Math.min(timeAt, last)
  const window = all.slice(at, at + shown)
  // lines of other tools say nothing of when: they follow each other
  let clock = 0
  const placed = window.map((one) => {
    const start = one.start ?? clock
    clock = start + Math.max(0, ...one.spans.map((span) => span.wall_end))
    return { ...one, start }
  })
  const from = placed[0].start
  const spans = placed.flatMap((one) => absolute(one, from))
  const end = Math.max(1e-9, ...spans.map(({ b }) => b))
  const gaps = gapsOf(spans)
  const width = Math.max(280, box.clientWidth - 2)
  const [row, left] = [20, 52]
  const height = shown * row + 24
  const x = (t) => left + (t / end) * (width - left - 8)
  const svg = el("svg", { width, height, class: "water", role: "img", "aria-label": "when each step was prepared, handed in and waited for" })
  for (const gap of gaps) {
    svg.append(el("rect", { x: x(gap.a), y: 0, width: Math.max(.5, x(gap.b) - x(gap.a)), height: shown * row, fill: "var(--idle)", opacity: ".55" }, el("title", {}, `idle ${seconds(gap.b - gap.a)}: ${gap.name}`)))
  }
  placed.forEach((one, i) => {
    svg.append(el("text", { x: left - 6, y: i * row + 14, "text-anchor": "end" }, String(one.step)))
    for (const span of absolute(one, from)) {
      svg.append(el("rect", { x: x(span.a), y: i * row + 3, width: Math.max(.8, x(span.b) - x(span.a)), height: row - 6, rx: 2, fill: spanColors[span.name] ?? "#6d6f78", opacity: span.name === "wait for batch" ? ".45" : ".9" }, el("title", {}, `step ${span.step}, ${span.name}: ${seconds(span.duration)}`)))
    }
  })
  const ticks = width < 600 ? 2 : 4
  for (let i = 0; i <= ticks; i++) svg.append(el("text", { x: x(end * i / ticks), y: height - 6, "text-anchor": i === 0 ? "start" : i === ticks ? "end" : "middle" }, i === 0 ? "0" : seconds(end * i / ticks)))
  const slider = el("input", { type: "range", min: "0", max: String(last), value: String(at), "aria-label": "first step shown" })
  slider.oninput = () => {
    timeAt = Number(slider.value) === last ? undefined : Number(slider.value)
    drawTime()
    box.querySelector("input")?.focus()
  }
  const idle = gaps.reduce((sum, { a, b }) => sum + b - a, 0)
  const legend = [...new Set(spans.map(({ name }) => name))].map((name) => el("span", {}, el("i", { class: "swatch", style: `background:${spanColors[name] ?? "#6d6f78"}` }), name))
  box.replaceChildren(
    el("div", { class: "legend" }, ...legend, el("span", {}, el("i", { class: "swatch", style: "background:var(--idle)" }), "idle: the service had nothing of this run to do"), last > 0 ? el("label", {}, "steps ", slider) : ""),
    el("div", { class: "scroll" }, svg),
    el("ul", { class: "gaps" }, el("li", {}, `idle for ${seconds(idle)} of ${seconds(end)} (${(100 * idle / end).toFixed(1)} %)`), ...[...gaps].sort((p, q) => q.b - q.a - p.b + p.a).slice(0, 4).map((gap) => el("li", {}, `${seconds(gap.b - gap.a)} before step ${gap.step}: ${gap.name}`)))
  )
}

/* The rest */
const facts = (run, r) => {
  const { config, last } = run
  const total = typeof last.progress === "number" && last.progress > 0 ? Math.round(run.steps / last.progress) : undefined
  const usd = last["cost/cumulative_usd"]
  const fact = (name, value) => value === undefined || value === "" ? "" : el("span", {}, `${name} `, el("b", {}, String(value)))
  return el("div", {}, el("h1", {}, runs.length > 1 ? el("i", { class: "swatch", style: `background:${palette[r % palette.length]}` }) : "", run.name), el("div", { class: "facts" },
    fact("steps", total === undefined ? run.steps : `${run.steps} of ${total}`),
    fact("model", config.model_name),
    fact("rank", config.lora_rank),
    fact("loss", last.train_mean_nll === undefined ? number(last["loss:sum"]) : number(last.train_mean_nll)),
    fact("tokens", last["tokens/cumulative/trained"]?.toLocaleString()),
    fact("cost", typeof usd === "number" ? `$${usd.toFixed(usd < 1 ? 4 : 2)}` : "not known"),
    fact("opened", run.attempts > 1 ? `${run.attempts} times` : ""),
    fact("begun", when(run.began))))
}
const table = (head, rows) => el("div", { class: "scroll" }, el("table", {}, head.every((name) => name === "") ? "" : el("tr", {}, ...head.map((name) => el("th", {}, name))), ...rows))
const cells = (...values) => values.map((value) => typeof value === "number" ? el("td", { class: "n" }, count(value)) : value instanceof Node ? el("td", {}, value) : el("td", {}, value ?? ""))
const flat = (value, path = "") => typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value).flatMap(([key, one]) => flat(one, path === "" ? key : `${path}.${key}`)) : [[path, value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value)]]
const copy = (text) => {
  const button = el("button", { title: "copy" }, "copy")
  button.onclick = () => navigator.clipboard?.writeText(text).then(() => { button.textContent = "copied" })
  return button
}
const resume = (path) => `service.createTrainingClientFromStateWithOptimizer("${path}")`
const drawRest = () => {
  $("facts").replaceChildren(...runs.map(facts))
  $("checkpointbox").replaceChildren(...runs.map((run) => run.checkpoints.length === 0 ? el("p", {}, "None is complete yet.") : table(["name", "updates", "kind", "saved", "score", "go on from it"], [...run.checkpoints].reverse().map((one) => el("tr", one.removed ? { class: "gone" } : {}, ...cells(one.name, one.updates, one.kind, when(one.at), one.score, one.removed ? "removed" : el("span", {}, el("span", { class: "mono" }, resume(one.path)), " ", copy(resume(one.path)))))))))
  $("resumebox").replaceChildren(...runs.flatMap((run) => run.resumes.map(({ at, from, step }) => el("p", {}, `${when(at)}: gone on at step ${step} `, el("span", { class: "mono" }, from ?? "from the beginning")))))
  $("costbox").replaceChildren(...runs.map((run) => {
    const rows = ["trained", "sampled", "prefill_uncached", "prefill_cached"].map((kind) => el("tr", {}, ...cells(kind.replace("_", ", "), run.last[`tokens/cumulative/${kind}`] ?? 0)))
    const usd = run.last["cost/cumulative_usd"]
    return el("div", {}, table(["", ""], rows), el("p", {}, `${typeof usd === "number" ? `$${usd.toFixed(4)} in all` : "No price"}${run.note === undefined ? "" : `; ${run.note}`}`))
  }))
  $("healthbox").replaceChildren(...runs.map((run) => run.health.length === 0 ? el("p", {}, "Written when training ends, or a minute after it began.") : table(["", ""], run.health.map(([name, value]) => el("tr", {}, ...cells(name, value))))))
  $("settingbox").replaceChildren(...runs.map((run) => flat(run.config).length === 0 ? el("p", {}, "None were kept.") : table(["setting", "value"], flat(run.config).map(([name, value]) => el("tr", {}, ...cells(name, el("span", { class: "mono" }, value)))))))
  const datum = runs.find((run) => run.datum !== undefined)?.datum
  $("datumbox").replaceChildren(datum === undefined ? el("p", {}, "Kept when the first step is handed in.") : el("div", { class: "datum" }, ...datum.pieces.map((piece, i) => el("span", { class: datum.weights[i] === 0 ? "off" : "on", title: `weight ${number(datum.weights[i])}` }, piece))))
  const samples = runs.flatMap((run) => run.samples)
  const section = $("samples")
  section.hidden = samples.length === 0
  $("samplebox").replaceChildren(...[...samples].reverse().map((sample) => el("div", { class: "sample" }, el("small", {}, `round ${sample.index}${sample.reward === undefined ? "" : `, reward ${number(sample.reward)}`}`), ...sample.pieces.map((piece, i) => {
    const logprob = sample.logprobs[i]
    const share = Math.min(1, -logprob / 6)
    return el("span", { style: `background:color-mix(in srgb, ${share < .5 ? "var(--good)" : "var(--warn)"} ${Math.round(Math.abs(share - .5) * 70)}%, transparent)`, title: `log-probability ${number(logprob)}, probability ${number(Math.exp(logprob))}` }, piece)
  }))))
}
const draw = () => {
  drawRest()
  drawCharts()
  drawTime()
}

/* Controls */
const theme = (name) => {
  document.documentElement.dataset.theme = name
  drawCharts()
}
const dark = matchMedia("(prefers-color-scheme: dark)")
document.documentElement.dataset.theme = dark.matches ? "dark" : "light"
dark.onchange = () => theme(dark.matches ? "dark" : "light")
$("theme").onclick = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark")
$("smoothing").oninput = () => {
  settings.smoothing = Number($("smoothing").value)
  drawCharts()
}
$("log").onchange = () => {
  settings.log = $("log").checked
  drawCharts()
}
$("x").onchange = () => {
  settings.x = $("x").value
  drawCharts()
}
$("help").onclick = () => $("keys").showModal()
document.onkeydown = (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return
  const steps = [0, .6, .9, .97, .99]
  switch (event.key) {
    case "s":
      $("smoothing").value = String(steps[(steps.indexOf(settings.smoothing) + 1) % steps.length])
      return $("smoothing").oninput()
    case "l":
      $("log").checked = !$("log").checked
      return $("log").onchange()
    case "x":
      $("x").selectedIndex = ($("x").selectedIndex + 1) % 3
      return $("x").onchange()
    case "t":
      return $("theme").onclick()
    case "?":
      return $("help").onclick()
  }
}
let resizing
addEventListener("resize", () => {
  clearTimeout(resizing)
  resizing = setTimeout(() => {
    drawCharts()
    drawTime()
  }, 150)
})
draw()
document.documentElement.dataset.ready = String(Math.round(performance.now()))

if (live) {
  const state = $("state")
  const source = new EventSource("events")
  source.onopen = () => {
    state.className = "live"
    state.textContent = "● live"
  }
  source.onerror = () => {
    state.className = "stale"
    state.textContent = "○ waiting for the server"
  }
  source.onmessage = (event) => {
    const place = scrollY
    runs = JSON.parse(event.data)
    draw()
    scrollTo(0, place)
  }
}
