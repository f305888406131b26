/**
 * Small plots in text, for a terminal or a log.
 *
 * @since 0.1.0
 */
import { extent, short, ticks } from "./internal/ticks.js"

/** The dots of a braille cell, by column and row. */
const dots = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]] as const

const paint = (text: string, color: boolean): string => color && text !== "" ? `\u001b[36m${text}\u001b[39m` : text

/** Draws a line between two dots. */
const line = (cells: Array<Uint8Array>, x0: number, y0: number, x1: number, y1: number): void => {
  const steps = Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0), 1)
  for (let i = 0; i <= steps; i++) {
    const x = Math.round(x0 + (x1 - x0) * i / steps)
    const y = Math.round(y0 + (y1 - y0) * i / steps)
    cells[y >> 2]![x >> 1]! |= dots[x & 1]![y & 3]!
  }
}

/** At most `columns` points: means of neighbours where there are more values. Values that are not finite leave a gap. */
const squeeze = (values: ReadonlyArray<number>, columns: number): ReadonlyArray<number> => {
  if (values.length <= columns) return values
  return Array.from({ length: columns }, (_, column) => {
    const from = Math.floor(column * values.length / columns)
    const to = Math.max(from + 1, Math.floor((column + 1) * values.length / columns))
    const finite = values.slice(from, to).filter(Number.isFinite)
    return finite.reduce((sum, value) => sum + value / finite.length, finite.length === 0 ? Number.NaN : 0)
  })
}

/**
 * A curve over steps 1, 2, 3 … in braille dots, with axes: for the losses of a run. `width` and `height` are those of the whole
 * plot in characters (72 and 14 unless given). More values than dots are averaged; values that are not finite leave gaps.
 *
 * @since 0.1.0
 * @category plots
 */
export const lossCurve = (
  values: ReadonlyArray<number>,
  options: {
    readonly width?: number | undefined
    readonly height?: number | undefined
    /** Colour the curve (ANSI). `false` unless given. */
    readonly color?: boolean | undefined
  } = {}
): string => {
  const wanted = Math.floor(options.width ?? 72)
  // The scale is that of what is drawn: averages, where there are more values than dots.
  const range = extent(squeeze(values, Math.max(4, wanted - 8) * 2))
  if (range === undefined) return "(no values)"
  const [low, high] = range[0] === range[1] ? [range[0] - 0.5, range[1] + 0.5] : range
  const height = Math.max(2, Math.floor(options.height ?? 14) - 2)
  const rowOf = (value: number): number =>
    Math.round((high - Math.min(Math.max(value, low), high)) / (high - low) * (height * 4 - 1))
  const labels = new Map(
    ticks(low, high, Math.max(2, Math.floor(height / 3))).map((tick) => [rowOf(tick) >> 2, short(tick)])
  )
  const margin = Math.max(...Array.from(labels.values(), (label) => label.length))
  const width = Math.max(4, wanted - margin - 2)
  const points = squeeze(values, width * 2)
  const columnOf = (index: number): number =>
    points.length === 1 ? 0 : Math.round(index * (width * 2 - 1) / (points.length - 1))
  const cells = Array.from({ length: height }, () => new Uint8Array(width))
  for (let i = 0; i < points.length; i++) {
    const value = points[i]!
    if (!Number.isFinite(value)) continue
    const before = i === 0 ? Number.NaN : points[i - 1]!
    const from = Number.isFinite(before) ? i - 1 : i
    line(cells, columnOf(from), rowOf(points[from]!), columnOf(i), rowOf(value))
  }
  const rows = cells.map((row, y) => {
    const label = labels.get(y)
    const curve = Array.from(row, (bits) => bits === 0 ? " " : String.fromCharCode(0x2800 + bits)).join("").trimEnd()
    return `${(label ?? "").padStart(margin)} ${label === undefined ? "│" : "┤"}${paint(curve, options.color === true)}`
  })
  const last = String(values.length)
  const gap = width - 1 - last.length
  return [
    ...rows,
    `${" ".repeat(margin)} └${"─".repeat(width)}`,
    `${" ".repeat(margin)}  1${gap > 0 ? " ".repeat(gap) + last : ""}`
  ].join("\n")
}

const blocks = "▁▂▃▄▅▆▇█"

/**
 * A curve in one line, at most `width` characters (40 unless given).
 *
 * @since 0.1.0
 * @category plots
 */
export const sparkline = (
  values: ReadonlyArray<number>,
  options: { readonly width?: number | undefined } = {}
): string => {
  const points = squeeze(values, Math.max(1, Math.floor(options.width ?? 40)))
  const range = extent(points)
  if (range === undefined) return ""
  const [low, high] = range
  return Array.from(points, (value) =>
    Number.isFinite(value)
      ? blocks.charAt(high === low ? 3 : Math.round((value - low) / (high - low) * (blocks.length - 1)))
      : " ").join("")
}

const clock = (seconds: number): string => {
  const whole = Math.round(seconds)
  const two = (part: number): string => String(part).padStart(2, "0")
  return whole >= 3600
    ? `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`
    : `${Math.floor(whole / 60)}:${two(whole % 60)}`
}

/**
 * A bar of what is done, with the rate and the time that is left where `elapsedMs` is given:
 * `████████────────  50 % 20/40 10/s ETA 0:02`. `width` is that of the bar alone (30 unless given). Without a total, what is
 * done and its rate.
 *
 * @since 0.1.0
 * @category plots
 */
export const progressBar = (options: {
  readonly done: number
  readonly total?: number | undefined
  readonly width?: number | undefined
  readonly elapsedMs?: number | undefined
}): string => {
  const { done, elapsedMs, total } = options
  const rate = elapsedMs !== undefined && elapsedMs > 0 && done > 0 ? done * 1000 / elapsedMs : undefined
  const speed = rate === undefined ? "" : ` ${short(Number(rate.toPrecision(3)))}/s`
  if (total === undefined || !(total > 0)) return `${short(done)}${speed}`
  const share = Math.min(1, Math.max(0, done / total))
  const width = Math.max(1, Math.floor(options.width ?? 30))
  const full = Math.floor(share * width)
  const percent = String(Math.floor(share * 100)).padStart(3)
  const left = rate === undefined || share === 1 ? "" : ` ETA ${clock((total - done) / rate)}`
  return `${"█".repeat(full)}${"─".repeat(width - full)} ${percent} % ${short(done)}/${short(total)}${speed}${left}`
}
