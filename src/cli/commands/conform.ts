/**
 * What `tinkex conformance` does.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Conformance from "../../conformance/Conformance.js"
import * as NodeTinkex from "../../NodeTinkex.js"
import { confirm } from "../terminal/confirm.js"
import { type Connection, settings } from "../terminal/connect.js"
import { Failed } from "../terminal/failed.js"
import * as Show from "../terminal/show.js"
import { style, Terminal } from "../terminal/terminal.js"

interface Args extends Connection {
  readonly baseModel: Option.Option<string>
  readonly only: ReadonlyArray<string>
  readonly budget: number
  readonly yes: boolean
  readonly list: boolean
  readonly json: boolean
  readonly junit: boolean
}

const tokens = ({ sampled, trained }: { readonly sampled: number; readonly trained: number }): string =>
  `${(trained + sampled).toLocaleString("en-US")} tokens at most (${trained} trained, ${sampled} sampled)`

const list = (selected: ReturnType<typeof Conformance.select>, json: boolean) =>
  json
    ? Show.json({
      checks: selected.map(({ cost, feature, id, source, title }) => ({ id, title, source, feature, cost }))
    })
    : Show.table(
      ["Check", "Tokens", "What is expected"],
      selected.map(({ cost, id, title }) => [id, String(cost.trained + cost.sampled), title])
    )

const isLoopback = (url: string): boolean => /^(localhost|127\.|\[::1\])/.test(new URL(url).hostname)

/** What is said of a check beside its id. */
const line = (terminal: typeof Terminal.Service, { id, verdict }: Conformance.Result): ReadonlyArray<string> => {
  switch (verdict._tag) {
    case "Passed":
      return []
    case "Lacking":
      return [`${style(terminal, 2, "lacks")}  ${id}: ${verdict.feature} (${verdict.detail})`]
    case "Failed":
      return [`${style(terminal, 31, "FAIL")}   ${id}: expected ${verdict.expected}, got ${verdict.got}`]
    case "Broken":
      return [`${style(terminal, 31, "broken")} ${id}: ${verdict.detail}`]
  }
}

const summary = (terminal: typeof Terminal.Service, report: Conformance.Report) =>
  Effect.gen(function*() {
    const groups = new Map<string, { passed: number; lacking: number; wrong: number }>()
    for (const { group, verdict } of report.results) {
      const of = groups.get(group) ?? { passed: 0, lacking: 0, wrong: 0 }
      groups.set(group, of)
      if (verdict._tag === "Passed") of.passed++
      else if (verdict._tag === "Lacking") of.lacking++
      else of.wrong++
    }
    yield* Show.table(
      ["Group", "Passed", "Lacking", "Failed"],
      [...groups].map(([name, { lacking, passed, wrong }]) => [name, `${passed}`, `${lacking}`, `${wrong}`])
    )
    const lacking = Object.entries(report.features).filter(([, has]) => !has).map(([name]) => name)
    if (lacking.length > 0) yield* terminal.print(`It does not offer: ${lacking.join(", ")}`)
  })

/**
 * Runs the checks and prints what they found. Exit code 1 if the server deviates or does not answer.
 */
export const conform = (args: Args) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal
    const selected = Conformance.select(args.only)
    if (selected.length === 0) {
      return yield* new Failed({ message: `no check is called ${args.only.join(", ")}; --list shows them` })
    }
    if (args.list) return yield* list(selected, args.json)
    const { apiKey, baseUrl } = yield* settings(args)
    const cost = Conformance.costOf(selected)
    const quiet = args.json || args.junit
    if (!quiet) yield* terminal.note(`${selected.length} checks of ${baseUrl}, ${tokens(cost)}`)
    if (!args.yes && !isLoopback(baseUrl)) yield* confirm(`This trains and samples on ${baseUrl}, for ${tokens(cost)}.`)
    let done = 0
    const report = yield* Conformance.run({
      baseUrl,
      apiKey,
      baseModel: Option.getOrUndefined(args.baseModel),
      only: args.only,
      budget: args.budget,
      onResult: (result) =>
        Effect.gen(function*() {
          done++
          if (!quiet) { for (const text of line(terminal, result)) yield* terminal.print(text) }
          yield* terminal.progress(`${done} of ${selected.length}: ${result.id}`)
        })
    }).pipe(Effect.provide(NodeTinkex.layerHttpClient()))
    yield* terminal.progress("")
    if (args.json) yield* Show.json(report)
    else if (args.junit) yield* terminal.print(Conformance.toJUnit(report).trimEnd())
    else yield* summary(terminal, report)
    if (!Conformance.passed(report)) {
      const wrong = report.results.filter(({ verdict }) =>
        verdict._tag === "Failed" || verdict._tag === "Broken"
      ).length
      return yield* new Failed({ message: `${wrong} of ${report.results.length} checks failed` })
    }
  })
