/**
 * Line plots as SVG, for reports of experiments.
 *
 * @since 0.1.0
 */
import { extent, short, ticks } from "./internal/ticks.js"

/**
 * A line through points `[x, y]`. Points that are not finite (or, on a logarithmic axis, not above zero) break the line.
 *
 * @since 0.1.0
 * @category models
 */
export interface Series {
  readonly name: string
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly title?: string | undefined
  readonly xLabel?: string | undefined
  readonly yLabel?: string | undefined
  /** Pixels. 720 unless given. */
  readonly width?: number | undefined
  /** Pixels. 440 unless given. */
  readonly height?: number | undefined
  /** Logarithmic axes. `false` unless given. */
  readonly xLog?: boolean | undefined
  readonly yLog?: boolean | undefined
}

/** Okabe and Ito's colours, which colour-blind readers can tell apart. */
const colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")

interface Axis {
  readonly at: (value: number) => number
  readonly ticks: ReadonlyArray<number>
}

const axis = (values: Iterable<number>, log: boolean, from: number, to: number, about: number): Axis => {
  const scale = log ? (value: number) => value > 0 ? Math.log10(value) : Number.NaN : (value: number) => value
  const [least, greatest] = extent(Array.from(values, scale)) ?? [0, 1]
  const [low, high] = least === greatest ? [least - 0.5, greatest + 0.5] : [least, greatest]
  const steps = ticks(low, high, about)
  const marks = log
    ? steps.filter(Number.isInteger).length >= 2
      ? steps.filter(Number.isInteger).map((step) => 10 ** step)
      : steps.map((step) => 10 ** step)
    : steps
  return { at: (value) => from + (scale(value) - low) / (high - low) * (to - from), ticks: marks }
}

/**
 * An SVG document with one line for each series, labelled axes and a legend.
 *
 * @since 0.1.0
 * @category plots
 */
export const linePlot = (series: ReadonlyArray<Series>, options: Options = {}): string => {
  const width = options.width ?? 720
  const height = options.height ?? 440
  const left = 72
  const right = width - 16
  const top = options.title === undefined ? 16 : 40
  const bottom = height - 56
  const all = series.flatMap(({ points }) => points)
  const x = axis(all.map(([value]) => value), options.xLog === true, left, right, 8)
  const y = axis(all.map(([, value]) => value), options.yLog === true, bottom, top, 6)
  const px = (value: number): string => String(Math.round(value * 100) / 100)
  const text = (at: readonly [number, number], anchor: string, content: string, more = ""): string =>
    `<text x="${px(at[0])}" y="${px(at[1])}" text-anchor="${anchor}"${more}>${escape(content)}</text>`
  const parts: Array<string> = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`
  ]
  if (options.title !== undefined) {
    parts.push(text([(left + right) / 2, 24], "middle", options.title, ` font-size="15" font-weight="bold"`))
  }
  for (const tick of x.ticks) {
    const at = px(x.at(tick))
    parts.push(`<line x1="${at}" y1="${top}" x2="${at}" y2="${bottom}" stroke="#ddd"/>`)
    parts.push(text([x.at(tick), bottom + 18], "middle", short(tick)))
  }
  for (const tick of y.ticks) {
    const at = px(y.at(tick))
    parts.push(`<line x1="${left}" y1="${at}" x2="${right}" y2="${at}" stroke="#ddd"/>`)
    parts.push(text([left - 8, y.at(tick) + 4], "end", short(tick)))
  }
  parts.push(`<path d="M${left} ${top}V${bottom}H${right}" fill="none" stroke="#333"/>`)
  if (options.xLabel !== undefined) parts.push(text([(left + right) / 2, height - 14], "middle", options.xLabel))
  if (options.yLabel !== undefined) {
    const middle = (top + bottom) / 2
    parts.push(text([18, middle], "middle", options.yLabel, ` transform="rotate(-90 18 ${px(middle)})"`))
  }
  series.forEach(({ name, points }, i) => {
    const color = colors[i % colors.length]!
    let path = ""
    let pen = "M"
    for (const [px0, py0] of points) {
      const at = [x.at(px0), y.at(py0)] as const
      if (!Number.isFinite(at[0]) || !Number.isFinite(at[1])) {
        pen = "M"
        continue
      }
      path += `${pen}${px(at[0])} ${px(at[1])}`
      pen = "L"
    }
    if (path !== "") {
      parts.push(`<path d="${path}" fill="none" stroke="${color}" stroke-width="1.8" stroke-linejoin="round"/>`)
    }
    const row = top + 14 + i * 16
    parts.push(
      `<line x1="${right - 150}" y1="${row - 4}" x2="${right - 130}" y2="${
        row - 4
      }" stroke="${color}" stroke-width="2"/>`
    )
    parts.push(text([right - 124, row], "start", name))
  })
  parts.push("</svg>")
  return `${parts.join("\n")}\n`
}
