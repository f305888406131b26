/** Round numbers between two others, for axes. */
export const ticks = (from: number, to: number, about: number): ReadonlyArray<number> => {
  const span = to - from
  if (!(span > 0) || !Number.isFinite(span)) return [from]
  const rough = span / Math.max(1, about)
  const magnitude = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((digit) => digit * magnitude).find((candidate) => candidate >= rough) ?? rough
  const found: Array<number> = []
  const first = Math.ceil(from / step - 1e-9)
  const last = Math.floor(to / step + 1e-9)
  for (let i = first; i <= last; i++) found.push(i * step)
  return found
}

/** A number in few characters: four significant digits, no trailing zeros. */
export const short = (value: number): string => {
  const size = Math.abs(value)
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) {
    return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e")
  }
  return String(Number(value.toPrecision(4)))
}

/** The least and the greatest of the finite numbers; `undefined` if there are none. */
export const extent = (values: Iterable<number>): readonly [number, number] | undefined => {
  let least = Number.POSITIVE_INFINITY
  let greatest = Number.NEGATIVE_INFINITY
  for (const value of values) {
    if (!Number.isFinite(value)) continue
    if (value < least) least = value
    if (value > greatest) greatest = value
  }
  return least <= greatest ? [least, greatest] : undefined
}
