import { assert, describe, it } from "@effect/vitest"
import * as fc from "effect/FastCheck"
import * as Plot from "../../src/observability/Plot.js"
import * as PlotSvg from "../../src/observability/PlotSvg.js"

fc.configureGlobal({ seed: 20250 })

/** The dots of a plot, as [column, row] counted in dots from the top left of its area. */
const dots = (plot: string): ReadonlyArray<readonly [number, number]> => {
  const found: Array<readonly [number, number]> = []
  const bits = [[0x01, 0, 0], [0x02, 0, 1], [0x04, 0, 2], [0x40, 0, 3], [0x08, 1, 0], [0x10, 1, 1], [0x20, 1, 2], [
    0x80,
    1,
    3
  ]] as const
  plot.split("\n").forEach((row, y) => {
    const area = row.split(/[│┤]/)[1] ?? ""
    Array.from(area).forEach((cell, x) => {
      const code = cell.charCodeAt(0) - 0x2800
      if (code < 0) return
      for (const [bit, dx, dy] of bits) if ((code & bit) !== 0) found.push([x * 2 + dx, y * 4 + dy])
    })
  })
  return found
}

describe("Plot", () => {
  describe("lossCurve", () => {
    it("draws a falling line from the upper left to the lower right corner, with axes", () => {
      const plot = Plot.lossCurve([4, 3, 2, 1, 0], { width: 24, height: 8 })
      assert.strictEqual(
        plot,
        [
          "4 ┤⠑⠢⢄",
          "  │   ⠉⠒⢄⡀",
          "  │      ⠈⠑⠢⢄⡀",
          "2 ┤          ⠈⠒⠤⣀",
          "  │              ⠉⠒⠤⣀",
          "0 ┤                  ⠑⠢⢄",
          "  └─────────────────────",
          "   1                   5"
        ].join("\n")
      )
      const drawn = dots(plot)
      assert.deepStrictEqual(drawn[0], [0, 0])
      assert.isTrue(drawn.some(([x, y]) => x === 41 && y === 23))
      // Every column has its dot, and later ones are never higher.
      for (let x = 0; x < 42; x++) assert.isTrue(drawn.some(([column]) => column === x), `column ${x}`)
      for (const [x, y] of drawn) for (const [x2, y2] of drawn) if (x2 > x + 1) assert.isAtLeast(y2, y)
    })

    it("keeps to its size, whatever the values", () => {
      const value = fc.oneof(fc.double(), fc.double({ min: -5, max: 5 }))
      fc.assert(
        fc.property(
          fc.array(value, { maxLength: 500 }),
          fc.integer({ min: 24, max: 120 }),
          fc.integer({ min: 4, max: 30 }),
          (values, width, height) => {
            const lines = Plot.lossCurve(values, { width, height }).split("\n")
            if (!values.some(Number.isFinite)) return assert.deepStrictEqual(lines, ["(no values)"])
            assert.strictEqual(lines.length, height)
            for (const line of lines) assert.isAtMost(line.length, width)
          }
        ),
        { numRuns: 300 }
      )
    })

    it("a single value and equal values are drawn in the middle", () => {
      for (const values of [[3], [3, 3, 3]]) {
        const plot = Plot.lossCurve(values, { width: 30, height: 6 })
        assert.deepStrictEqual([...new Set(dots(plot).map(([, y]) => y))], [8])
        assert.match(plot, /3 ┤/)
        assert.isTrue(plot.endsWith(String(values.length)))
      }
    })

    it("values that are not finite leave a gap", () => {
      const drawn = dots(Plot.lossCurve([1, 1, Number.NaN, 1, 1], { width: 26, height: 5 }))
      const columns = new Set(drawn.map(([x]) => x))
      const width = Math.max(...columns)
      assert.isTrue(columns.has(0))
      assert.isFalse(columns.has(Math.round(width / 2)))
    })

    it("more values than dots are averaged: one far value among thousands does not flatten the rest", () => {
      const plot = Plot.lossCurve([...Array.from({ length: 10_000 }, (_, i) => 5 + (i % 2)), 0], {
        width: 40,
        height: 8
      })
      assert.include(plot, "5.48 ┤")
      assert.match(plot, /10001$/)
      assert.isAbove(new Set(dots(plot).map(([, y]) => y)).size, 3)
    })

    it("is coloured on request, and only then", () => {
      assert.include(Plot.lossCurve([1, 2], { color: true }), "\u001b[36m")
      assert.notInclude(Plot.lossCurve([1, 2]), "\u001b")
    })
  })

  it("sparkline goes from the lowest to the highest block", () => {
    assert.strictEqual(Plot.sparkline([1, 2, 3, 4, 5, 6, 7, 8]), "▁▂▃▄▅▆▇█")
    assert.strictEqual(Plot.sparkline([1, Number.NaN, 2]), "▁ █")
    assert.strictEqual(Plot.sparkline([2, 2]), "▄▄")
    assert.strictEqual(Plot.sparkline([]), "")
    assert.strictEqual(Plot.sparkline([Number.NaN]), "")
    assert.strictEqual(Plot.sparkline(Array.from({ length: 100 }, (_, i) => i), { width: 8 }), "▁▂▃▄▅▆▇█")
  })

  it("progressBar says what is done, how fast, and how long is left", () => {
    assert.strictEqual(Plot.progressBar({ done: 0, total: 40, width: 4 }), "────   0 % 0/40")
    assert.strictEqual(
      Plot.progressBar({ done: 20, total: 40, width: 4, elapsedMs: 2000 }),
      "██──  50 % 20/40 10/s ETA 0:02"
    )
    assert.strictEqual(Plot.progressBar({ done: 40, total: 40, width: 4, elapsedMs: 4000 }), "████ 100 % 40/40 10/s")
    assert.strictEqual(
      Plot.progressBar({ done: 1, total: 10_000, width: 4, elapsedMs: 1000 }),
      "────   0 % 1/10000 1/s ETA 2:46:39"
    )
    assert.strictEqual(Plot.progressBar({ done: 50, total: 40, width: 4 }), "████ 100 % 50/40")
    assert.strictEqual(Plot.progressBar({ done: 1500, elapsedMs: 3000 }), "1500 500/s")
    assert.strictEqual(Plot.progressBar({ done: 5 }), "5")
    assert.strictEqual(Plot.progressBar({ done: 5e7, total: 1e8 }).split(" ").pop(), "5e7/1e8")
  })
})

describe("PlotSvg", () => {
  const line = (svg: string, i = 0): ReadonlyArray<readonly [number, number]> => {
    const path =
      Array.from(svg.matchAll(/<path d="([^"]*)" fill="none" stroke="#[0-9a-f]{6}" stroke-width="1.8"/g))[i]?.[1] ?? ""
    return Array.from(path.matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g), ([, x, y]) => [Number(x), Number(y)] as const)
  }

  it("puts points where the axes say", () => {
    const svg = PlotSvg.linePlot([{ name: "a", points: [[0, 0], [5, 10], [10, 5]] }], { width: 400, height: 200 })
    assert.deepStrictEqual(line(svg), [[72, 144], [228, 16], [384, 80]])
    for (const tick of [0, 2, 4, 6, 8, 10]) assert.include(svg, `>${tick}</text>`)
  })

  it("on logarithmic axes, powers of ten are as far apart as each other", () => {
    const svg = PlotSvg.linePlot([{ name: "a", points: [[1, 0.001], [10, 0.1], [100, 10], [0, 5]] }], {
      xLog: true,
      yLog: true
    })
    const [a, b, c, ...more] = line(svg)
    assert.deepStrictEqual(more, [])
    assert.approximately(b![0] - a![0], c![0] - b![0], 0.02)
    assert.approximately(b![1] - a![1], c![1] - b![1], 0.02)
    for (const tick of ["1", "10", "100", "0.001", "0.01", "0.1"]) assert.include(svg, `>${tick}</text>`)
    // Less than a power of ten: ticks in between.
    const narrow = PlotSvg.linePlot([{ name: "a", points: [[1, 2], [2, 3]] }], { yLog: true })
    assert.isAbove((narrow.match(/text-anchor="end"/g) ?? []).length, 2)
  })

  it("breaks a line where a point is not finite, and survives empty series", () => {
    const svg = PlotSvg.linePlot([{ name: "a", points: [[0, 1], [1, 2], [2, Number.NaN], [3, 1], [4, 2]] }, {
      name: "b",
      points: []
    }])
    assert.strictEqual((svg.match(/d="M[^"]*M/g) ?? []).length, 1)
    assert.include(PlotSvg.linePlot([]), "</svg>")
    assert.deepStrictEqual(line(PlotSvg.linePlot([{ name: "one", points: [[3, 3]] }])).length, 1)
  })

  it("titles, labels and names are text, whatever is in them", () => {
    const svg = PlotSvg.linePlot([{ name: "<b> & \"c\"", points: [[0, 1], [1, 2]] }], {
      title: "loss <script>",
      xLabel: "step",
      yLabel: "nats & bits"
    })
    assert.include(svg, ">loss &lt;script&gt;</text>")
    assert.include(svg, ">nats &amp; bits</text>")
    assert.include(svg, ">step</text>")
    assert.include(svg, ">&lt;b&gt; &amp; &quot;c&quot;</text>")
    assert.notInclude(svg, "<script")
  })
})
