/** Handing in: a batch, its update, and what has to stand directly behind that update, in one turn. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as SamplingClient from "../client/SamplingClient.js"
import type * as TrainingClient from "../client/TrainingClient.js"
import type { TinkexError } from "../TinkexError.js"
import * as CheckpointPolicy from "./CheckpointPolicy.js"
import * as Cost from "./Cost.js"
import { keepDatum } from "./keepsakes.js"
import type { Pass, PassError } from "./pass.js"
import { makePrepare } from "./prepare.js"
import { charged } from "./rounds.js"
import { claim } from "./runCore.js"
import type { Row, Span } from "./RunDirectory.js"
import type { Save } from "./saver.js"

type Snapshot = Effect.Effect<Effect.Effect<SamplingClient.Client, TinkexError, Scope.Scope>, TinkexError>

export interface HandIn<E, R> {
  /**
   * Makes a step ready: its batch is there, paid for and in the journal. Gives what hands it in, so that all this is done while the
   * steps before it are on their way.
   */
  readonly ready: (step: number) => Effect.Effect<Effect.Effect<void, E | PassError, R>, E | PassError, R>
  /** A checkpoint at once, behind everything that was handed in. */
  readonly save: (kind: Save["kind"], updates: number) => Effect.Effect<void, PassError>
  /** A sampler of the weights after so many updates, if one is wanted: call it where these updates are the last. */
  readonly draw: (updates: number, snapshot: Snapshot) => Effect.Effect<void, TinkexError, R>
}

const nameOf = (kind: Save["kind"], updates: number) => kind === "final" ? "final" : String(updates).padStart(6, "0")

/** State, and weights to sample from, of what the turn has handed in. */
const saving = (turn: TrainingClient.Client, policy: CheckpointPolicy.Checked, kind: Save["kind"], updates: number) =>
  Effect.gen(function*() {
    const name = nameOf(kind, updates)
    const ttl = kind === "final" ? undefined : kind === "rolling" ? policy.rolling?.ttl : policy.ttl
    const state = yield* turn.saveState(name, { overwrite: true, ttl })
    const sampler = kind !== "rolling" && policy.sampler
      ? yield* turn.saveWeightsForSampler(name, { ttl })
      : undefined
    return { name, state, sampler }
  })

export const makeHandIn = <E, R>(pass: Pass<E, R>): Effect.Effect<HandIn<E, R>> =>
  Effect.gen(function*() {
    const { clock, context, incarnation, plan, rounds, run, scope, timed } = pass
    const { client } = incarnation
    const { policy } = plan
    const prepared = makePrepare(pass)
    let last = { tokens: run.state.tokens, at: yield* Clock.currentTimeMillis, updates: pass.start }

    const draw = (updates: number, snapshot: Snapshot) =>
      rounds === undefined || !rounds.wants(updates)
        ? Effect.void
        : Effect.flatMap(snapshot, (sampler) => Effect.asVoid(Effect.forkIn(rounds.draw(updates, sampler), scope)))

    const saveIn = (turn: TrainingClient.Client, kind: Save["kind"], updates: number, row: Deferred.Deferred<Row>) =>
      Effect.flatMap(
        saving(turn, plan.policy, kind, updates),
        (handed) => Queue.offer(pass.saves, { ...handed, kind, updates, tokens: run.state.tokens, row })
      )

    const save: HandIn<E, R>["save"] = (kind, updates) =>
      Effect.gen(function*() {
        yield* run.record({ t: "saving", name: nameOf(kind, updates), updates })
        const row = yield* Deferred.make<Row>()
        yield* Deferred.succeed(row, {})
        yield* client.inOneTurn((turn) => saveIn(turn, kind, updates, row))
        last = { ...last, updates }
      })

    /** What is due behind an update. */
    const dueAt = (updates: number, tokens: number): Effect.Effect<Save["kind"] | undefined> =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const kind = updates === plan.total && policy.final
          ? "final"
          : CheckpointPolicy.due(policy, { updates, tokens, now, last })
        if (kind !== undefined) last = kind === "rolling" ? { ...last, updates } : { tokens, at: now, updates }
        return kind
      })

    /** The pass, the update and what follows it. */
    const submit = (
      step: number,
      data: Parameters<TrainingClient.Client["forwardBackward"]>[0],
      kind: Save["kind"] | undefined
    ) =>
      Effect.gen(function*() {
        const adam = plan.adam(step)
        const row = yield* Deferred.make<Row>()
        const rest = (turn: TrainingClient.Client) =>
          Effect.gen(function*() {
            const update = yield* turn.optimStep(adam)
            if (kind !== undefined) yield* saveIn(turn, kind, step + 1, row)
            yield* draw(step + 1, turn.snapshot)
            return update
          })
        const { pass: how } = plan
        if (how._tag === "Custom") {
          // it may wait for results of its own, which a turn must not
          const output = yield* how.run(client, data, context(step))
          return { adam, row, output, update: yield* client.inOneTurn(rest) }
        }
        return yield* client.inOneTurn((turn) =>
          Effect.gen(function*() {
            const output = yield* turn.forwardBackward(data, how.loss, how.config)
            return { adam, row, output, update: yield* rest(turn) }
          })
        )
      })

    const ready: HandIn<E, R>["ready"] = (step) =>
      Effect.gen(function*() {
        const began = yield* clock.now
        const spans: Array<Span> = []
        const { data, facts, round, spans: before } = yield* timed(spans, "wait for batch", prepared(step))
        spans.push(...before)
        if (step === 0) yield* keepDatum(run, data)
        const evaluation = plan.evaluate !== undefined && step % plan.evaluate.every === 0
          ? yield* timed(spans, "evaluate", plan.evaluate.run(context(step)))
          : {}
        const trained = { ...Cost.nothing, trained: facts.tokens }
        const settle = yield* Effect.tapErrorTag(
          claim(run, trained),
          "BudgetExceeded",
          () => last.updates === step ? Effect.void : save("periodic", step)
        )
        const kind = yield* dueAt(step + 1, run.state.tokens + facts.tokens)
        yield* timed(
          spans,
          "journal",
          run.record(
            { t: "batch", step, digest: facts.digest, tokens: facts.tokens },
            ...(kind === undefined ? [] : [{ t: "saving" as const, name: nameOf(kind, step + 1), updates: step + 1 }])
          )
        )
        const cumulative = run.state.spent
        return Effect.gen(function*() {
          const submitted = yield* clock.now
          yield* Queue.offer(pass.handed, {
            ...yield* timed(spans, "submit", submit(step, data, kind)),
            submitted,
            step,
            data,
            facts,
            round,
            evaluation,
            usage: round === undefined || step % pass.updatesPerRound !== 0
              ? trained
              : Cost.add(trained, charged(round.usage)),
            cumulative,
            settle: settle(trained),
            spans,
            began
          })
        })
      })

    return { ready, save, draw }
  })
