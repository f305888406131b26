import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { deep, sized } from "../support/deep.js"
import { campaign, type Report } from "./fixtures/campaign.js"
import { healing, type Injected, refusing } from "./fixtures/faultProxy.js"

const seeds = Array.from({ length: sized(15) }, (_, i) => i + 1)
const size = { steps: sized(20, 4), samples: sized(6, 2) }

const operations = 2 * (2 * size.steps + 1) + 4 * size.samples

/** A run for each seed; they wait more than they work. */
const over = (kinds: typeof healing) =>
  Effect.forEach(seeds, (seed) => campaign({ seed, kinds, ...size }), { concurrency: 5 })

const outcomesOf = ({ outcomes }: Report) =>
  Object.fromEntries(outcomes.map(({ name, value }) => [name, value]).sort(([a], [b]) => a! < b! ? -1 : 1))

/** What the figures of a run were, for those who look. */
const tell = (what: string, reports: ReadonlyArray<Report>) =>
  deep
    ? Effect.log(
      `campaign, ${what}: ${reports.length} seeds, ${reports.flatMap(({ injected }) => injected).length} faults of ${
        new Set(reports.flatMap(({ injected }) => injected.map(({ kind }) => kind))).size
      } kinds, ${reports.flatMap(({ lost }) => lost).length} of ${
        reports.flatMap(({ outcomes }) => outcomes).length
      } lost`
    )
    : Effect.void

describe("a campaign of faults between client and server", () => {
  it("has more than 25 kinds of faults", () => {
    assert.isAtLeast(Object.keys(healing).length, 25)
  })

  it.live(
    "with faults that heal nothing is lost, nothing done twice, and everything is the same to the last bit",
    () =>
      Effect.gen(function*() {
        const quiet = yield* campaign({ seed: 0, kinds: undefined, ...size })
        assert.lengthOf(quiet.outcomes, operations)
        assert.deepStrictEqual(quiet.lost, [])
        const reports = yield* over(healing)
        for (const [i, report] of reports.entries()) {
          assert.deepStrictEqual(report.lost, [], `seed ${seeds[i]}`)
          assert.deepStrictEqual(report.wrong, [], `seed ${seeds[i]}`)
          assert.deepStrictEqual(outcomesOf(report), outcomesOf(quiet), `seed ${seeds[i]}`)
          assert.isAbove(report.injected.length, operations / 4)
        }
        yield* tell("kinds that heal", reports)
      }),
    1_200_000
  )

  it.live(
    "with every kind only what was refused for good is lost, and nothing done twice",
    () =>
      Effect.gen(function*() {
        const reports = yield* over({ ...healing, ...refusing })
        yield* tell("all kinds", reports)
        for (const [i, { injected, lost, wrong }] of reports.entries()) {
          assert.deepStrictEqual(wrong, [], `seed ${seeds[i]}`)
          assert.isAtMost(lost.length, injected.filter(isFinal).length, `seed ${seeds[i]}`)
          for (const { error, name } of lost) assert.match(error!, refusal, `seed ${seeds[i]}, ${name}`)
        }
      }),
    1_200_000
  )
})

/** What no client can heal: a submission that is refused, a result that is said to be gone. */
const isFinal = ({ endpoint, kind }: Injected) =>
  Object.hasOwn(refusing, kind) && endpoint !== "session_heartbeat" &&
  (endpoint !== "retrieve_future" || kind === "410")

/** The errors of these. */
const refusal = /: (40[013]|413|302|410) |the result is gone/
