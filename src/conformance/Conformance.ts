/**
 * A conformance suite for servers that speak the Tinker protocol: about a hundred checks, each with what it expects, what came
 * and where that is written; and from them a list of what the server offers. It talks to any server by its URL, trains a few
 * small adapters there, and costs a few thousand tokens.
 *
 * @since 0.2.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Check, Cost, Group } from "./check.js"
import { checkpoints } from "./checks/checkpoints.js"
import { errors } from "./checks/errors.js"
import { gradients } from "./checks/gradients.js"
import { losses } from "./checks/losses.js"
import { optimizer } from "./checks/optimizer.js"
import { order } from "./checks/order.js"
import { polls } from "./checks/polls.js"
import { prompts } from "./checks/prompt.js"
import { sampling } from "./checks/sampling.js"
import { sessions } from "./checks/sessions.js"
import { stops } from "./checks/stops.js"
import { wire } from "./checks/wire.js"
import * as Peer from "./peer.js"

/**
 * All checks, in the order in which they run.
 *
 * @since 0.2.0
 * @category constants
 */
export const checks: ReadonlyArray<Check> = [
  ...wire,
  ...sessions,
  ...order,
  ...losses,
  ...gradients,
  ...optimizer,
  ...checkpoints,
  ...sampling,
  ...stops,
  ...prompts,
  ...errors,
  ...polls
]

/**
 * How a check ended. `Passed`; `Failed`, with what was expected and what came; `Lacking`, when the server refuses what it need
 * not offer; `Broken`, when no answer came.
 *
 * @since 0.2.0
 * @category models
 */
export type Verdict =
  | { readonly _tag: "Passed" }
  | { readonly _tag: "Failed"; readonly expected: string; readonly got: string }
  | { readonly _tag: "Lacking"; readonly feature: string; readonly detail: string }
  | { readonly _tag: "Broken"; readonly detail: string }

/**
 * A check and how it ended.
 *
 * @since 0.2.0
 * @category models
 */
export interface Result {
  readonly id: string
  readonly group: Group
  readonly title: string
  readonly source: string
  readonly verdict: Verdict
  readonly millis: number
}

/**
 * What a run found.
 *
 * @since 0.2.0
 * @category models
 */
export interface Report {
  readonly baseUrl: string
  readonly baseModel: string
  /** When it began, in milliseconds since 1970. */
  readonly startedAt: number
  readonly results: ReadonlyArray<Result>
  /** What the server need not offer, and whether it does. */
  readonly features: Readonly<Record<string, boolean>>
}

/**
 * The run would cost more tokens than it may.
 *
 * @since 0.2.0
 * @category errors
 */
export class TooExpensive extends Data.TaggedError("TooExpensive")<{
  readonly cost: Cost
  readonly budget: number
}> {
  override get message(): string {
    const tokens = this.cost.trained + this.cost.sampled
    return `the checks take up to ${tokens} tokens (${this.cost.trained} trained, ${this.cost.sampled} sampled), ` +
      `the budget is ${this.budget}. Allow more, or choose fewer checks`
  }
}

/**
 * Settings of a run.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options extends Peer.PeerOptions {
  /** Only checks whose id begins with one of these: `"losses"`, `"losses/ppo"`. All unless given. */
  readonly only?: ReadonlyArray<string> | undefined
  /** The most tokens that may be trained on and sampled together. No limit unless given. */
  readonly budget?: number | undefined
  /** Told of each check when it has ended. */
  readonly onResult?: ((result: Result) => Effect.Effect<void>) | undefined
}

/**
 * The checks that a run would do.
 *
 * @since 0.2.0
 * @category getters
 */
export const select = (only: ReadonlyArray<string> | undefined): ReadonlyArray<Check> =>
  only === undefined || only.length === 0
    ? checks
    : checks.filter(({ id }) => only.some((prefix) => id === prefix || id.startsWith(`${prefix}/`)))

/**
 * What checks cost at most.
 *
 * @since 0.2.0
 * @category getters
 */
export const costOf = (selected: ReadonlyArray<Check>): Cost => {
  let trained = 0
  let sampled = 0
  for (const { cost } of selected) {
    trained += cost.trained
    sampled += cost.sampled
  }
  return { trained, sampled }
}

const verdictOf = (exit: Exit.Exit<void, Effect.Effect.Error<ReturnType<Check["run"]>>>): Verdict => {
  if (Exit.isSuccess(exit)) return { _tag: "Passed" }
  const failure = Cause.failureOption(exit.cause)
  if (Option.isNone(failure)) return { _tag: "Broken", detail: Cause.pretty(exit.cause).split("\n")[0] ?? "" }
  const error = failure.value
  switch (error._tag) {
    case "Deviation":
      return { _tag: "Failed", expected: error.expected, got: error.got }
    case "Lacking":
      return { _tag: "Lacking", feature: error.feature, detail: error.detail }
    case "Unreachable":
      return { _tag: "Broken", detail: error.message }
  }
}

const runOne = (peer: Peer.Peer, check: Check): Effect.Effect<Result> =>
  Effect.gen(function*() {
    const before = yield* Clock.currentTimeMillis
    const exit = yield* Effect.exit(Effect.ensuring(check.run(peer), peer.release))
    if (Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)) return yield* Effect.interrupt
    const { group, id, source, title } = check
    return { id, group, title, source, verdict: verdictOf(exit), millis: (yield* Clock.currentTimeMillis) - before }
  })

const featuresOf = (
  selected: ReadonlyArray<Check>,
  results: ReadonlyArray<Result>
): Readonly<Record<string, boolean>> => {
  const features: Record<string, boolean> = {}
  results.forEach(({ verdict }, i) => {
    if (verdict._tag === "Lacking") features[verdict.feature] = false
    const own = selected[i]?.feature
    if (own !== undefined && verdict._tag === "Passed") features[own] ??= true
  })
  return Object.fromEntries(Object.entries(features).sort(([a], [b]) => a < b ? -1 : 1))
}

/**
 * Runs the checks against a server, one after the other. Fails with `TooExpensive` before anything is sent, and with
 * `Unreachable` when there is no server to begin with; everything else is in the report.
 *
 * @since 0.2.0
 * @category running
 */
export const run = (
  options: Options
): Effect.Effect<Report, TooExpensive | Peer.Unreachable, HttpClient.HttpClient> =>
  Effect.gen(function*() {
    const selected = select(options.only)
    const cost = costOf(selected)
    if (options.budget !== undefined && cost.trained + cost.sampled > options.budget) {
      return yield* new TooExpensive({ cost, budget: options.budget })
    }
    const startedAt = yield* Clock.currentTimeMillis
    const peer = yield* Peer.make(options)
    const results: Array<Result> = []
    yield* Effect.forEach(selected, (check) =>
      Effect.gen(function*() {
        const result = yield* runOne(peer, check)
        results.push(result)
        if (options.onResult !== undefined) yield* options.onResult(result)
      }), { discard: true }).pipe(Effect.ensuring(peer.finish))
    return {
      baseUrl: options.baseUrl,
      baseModel: peer.baseModel,
      startedAt,
      results,
      features: featuresOf(selected, results)
    }
  })

/**
 * Whether nothing failed and every answer came. What a server lacks is no failure.
 *
 * @since 0.2.0
 * @category getters
 */
export const passed = ({ results }: Report): boolean =>
  results.every(({ verdict }) => verdict._tag === "Passed" || verdict._tag === "Lacking")

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(`"`, "&quot;")
    // what XML has no place for
    // oxlint-disable-next-line no-control-regex
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "?")

const junitCase = ({ group, id, millis, source, title, verdict }: Result): string => {
  const open = `    <testcase classname="conformance.${group}" name="${escape(`${id}: ${title}`)}" time="${
    millis / 1000
  }"`
  switch (verdict._tag) {
    case "Passed":
      return `${open}/>`
    case "Lacking":
      return `${open}><skipped message="${escape(`${verdict.feature}: ${verdict.detail}`)}"/></testcase>`
    case "Failed":
      return `${open}><failure message="${escape(`expected ${verdict.expected}, got ${verdict.got}`)}">${
        escape(source)
      }</failure></testcase>`
    case "Broken":
      return `${open}><error message="${escape(verdict.detail)}"/></testcase>`
  }
}

/**
 * The report as JUnit XML, for what shows test results.
 *
 * @since 0.2.0
 * @category formatting
 */
export const toJUnit = ({ baseUrl, results }: Report): string => {
  const of = (tag: Verdict["_tag"]): number => results.filter(({ verdict }) => verdict._tag === tag).length
  return [
    `<?xml version="1.0" encoding="UTF-8"?>`,
    `<testsuites>`,
    `  <testsuite name="${escape(`conformance of ${baseUrl}`)}" tests="${results.length}" failures="${
      of("Failed")
    }" errors="${of("Broken")}" skipped="${of("Lacking")}">`,
    ...results.map(junitCase),
    `  </testsuite>`,
    `</testsuites>`,
    ""
  ].join("\n")
}
