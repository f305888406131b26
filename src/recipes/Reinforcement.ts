/**
 * Reinforcement learning: groups of episodes are sampled, compared, and trained on by how much better each was than its group.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as SamplingClient from "../client/SamplingClient.js"
import * as Datum from "../protocol/Datum.js"
import type { LossFnConfig } from "../protocol/Training.js"
import type { CheckpointPolicy } from "../runs/CheckpointPolicy.js"
import * as Rollouts from "../runs/Rollouts.js"
import type * as Run from "../runs/Run.js"
import * as Schedule from "../runs/Schedule.js"
import type { TinkexError } from "../TinkexError.js"
import * as Advantage from "./Advantage.js"
import type * as Environment from "./Environment.js"
import * as Episode from "./Episode.js"
import { statistics } from "./rolloutStatistics.js"
import { orStill } from "./still.js"

const Numbers = Schema.Array(Schema.JsonNumber)

const TransitionSchema = Schema.Struct({
  observation: Numbers,
  tokens: Numbers,
  logprobs: Numbers,
  reward: Schema.JsonNumber,
  masked: Schema.Boolean,
  metrics: Schema.Record({ key: Schema.String, value: Schema.JsonNumber }),
  /** What a reference gives the action's tokens, where there is one. */
  reference: Schema.optional(Numbers)
})

/**
 * What a round of sampling keeps: by group, its tags, its episodes, and what each episode earned in all.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Sample = Schema.Struct({
  groups: Schema.Array(Schema.Struct({
    tags: Schema.Array(Schema.String),
    rewards: Numbers,
    trajectories: Schema.Array(Schema.Struct({ transitions: Schema.Array(TransitionSchema), stopped: Schema.String }))
  })),
  /** Groups that were left out because too many of their episodes failed. */
  failed: Schema.Int
})

/**
 * @since 0.2.0
 * @category models
 */
export interface Sample extends Schema.Schema.Type<typeof Sample> {}

type SampledGroup = Sample["groups"][number]

/**
 * A penalty for moving away from a reference: the advantage of each token is changed by
 * `coefficient · (mean distance - distance)`, the distance being the sampler's logprob less the reference's.
 *
 * @since 0.2.0
 * @category models
 */
export interface KlPenalty {
  readonly coefficient: number
  /** Whether the mean distance is taken off, so that the penalty favours nobody on the whole. Yes unless given. */
  readonly centred?: boolean | undefined
  /** Of the future distances of an episode, in place of a token's own. Off unless above 0. */
  readonly discount?: number | undefined
}

/**
 * Losses that stay right when the data come from other weights than those that are trained: they know the ratio.
 *
 * @since 0.2.0
 * @category models
 */
export type OffPolicyLoss = "ppo" | "cispo" | "dro" | "gspo"

/**
 * When sampling and training happen.
 *
 * - `onPolicy`: a round is sampled with the weights that it will change. Any loss; `importance_sampling` unless given.
 * - `offPolicy`: rounds are sampled with weights of `behind` rounds before while those are being trained on, so the loss has to
 *   be one that bounds the ratio: it is part of the choice.
 *
 * @since 0.2.0
 * @category models
 */
export type Timing =
  | { readonly _tag: "onPolicy"; readonly loss?: "importance_sampling" | OffPolicyLoss | undefined }
  | { readonly _tag: "offPolicy"; readonly behind: number; readonly loss: OffPolicyLoss }

/**
 * What to train on and how.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options<E = never, R = never> extends Omit<Episode.Options, "seed"> {
  /** The groups of a round. A pure function of its number, or a resumed run differs. */
  readonly groups: (round: number) => Effect.Effect<ReadonlyArray<Environment.Group<E, R>>, E, R>
  /** Rounds in all. */
  readonly rounds: number
  readonly timing?: Timing | undefined
  readonly lossConfig?: LossFnConfig | undefined
  /** `mean` unless given. */
  readonly advantage?: Advantage.Kind | undefined
  /** Updates from one round, each on its share of the data; 1 unless given. */
  readonly updates?: number | undefined
  /** 4e-4 unless given. */
  readonly learningRate?: number | Schedule.Schedule | undefined
  /** Frozen weights to stay near. */
  readonly reference?: { readonly sampler: SamplingClient.Client; readonly penalty: KlPenalty } | undefined
  /** Groups that are sampled at one time; all unless given. */
  readonly concurrency?: number | undefined
  readonly checkpoint?: CheckpointPolicy | undefined
}

/** Whether `longer` begins with `shorter`. */
const extendsIt = (longer: ReadonlyArray<number>, shorter: ReadonlyArray<number>): boolean => {
  if (longer.length < shorter.length) return false
  for (let i = shorter.length - 1; i >= 0; i--) if (longer[i] !== shorter[i]) return false
  return true
}

interface Sequence {
  readonly tokens: Array<number>
  readonly logprobs: Array<number>
  readonly advantages: Array<number>
  /** 1 for a token of an action that is learnt from. */
  readonly mask: Array<number>
}

const push = (
  sequence: Sequence,
  tokens: ReadonlyArray<number>,
  of: (i: number) => readonly [number, number, number]
): void => {
  tokens.forEach((token, i) => {
    const [logprob, advantage, mask] = of(i)
    sequence.tokens.push(token)
    sequence.logprobs.push(logprob)
    sequence.advantages.push(advantage)
    sequence.mask.push(mask)
  })
}

const datumOf = ({ advantages, logprobs, tokens }: Sequence): Datum.Datum =>
  Datum.make({
    modelInput: tokens.slice(0, -1),
    lossFnInputs: {
      target_tokens: tokens.slice(1),
      logprobs: logprobs.slice(1),
      advantages: advantages.slice(1)
    }
  })

/**
 * An episode as data. As long as each observation begins with all that was said before, it is one sequence; where one does not,
 * a new datum begins. Tokens that were observed have advantage 0, and so have those of actions that are not learnt from.
 * `advantage` is that of the episode, or says it for each action token.
 *
 * @since 0.2.0
 * @category data
 */
export const toData = (
  trajectory: Environment.Trajectory,
  advantage: number | ((transition: number, token: number) => number)
): ReadonlyArray<Datum.Datum> => {
  const sequences: Array<Sequence> = []
  let open: Sequence | undefined
  trajectory.transitions.forEach(({ logprobs, masked, observation, tokens }, t) => {
    if (open === undefined || !extendsIt(observation, open.tokens)) {
      open = { tokens: [], logprobs: [], advantages: [], mask: [] }
      sequences.push(open)
    }
    push(open, observation.slice(open.tokens.length), () => [0, 0, 0])
    push(open, tokens, (i) => {
      const own = masked ? 0 : typeof advantage === "number" ? advantage : advantage(t, i)
      return [logprobs[i] ?? 0, own, masked ? 0 : 1]
    })
  })
  return sequences.filter(({ advantages, tokens }) => tokens.length > 1 && advantages.some((value) => value !== 0))
    .map(datumOf)
}

/** Distances of the actions of an episode from the reference, one list a transition. */
const distancesOf = ({ transitions }: SampledGroup["trajectories"][number]): ReadonlyArray<ReadonlyArray<number>> =>
  transitions.map(({ logprobs, reference }) =>
    logprobs.map((q, i) => reference === undefined ? 0 : q - (reference[i] ?? q))
  )

const discounted = (values: ReadonlyArray<number>, discount: number): ReadonlyArray<number> => {
  const out = [...values]
  for (let i = out.length - 2; i >= 0; i--) out[i] = out[i]! + discount * out[i + 1]! // i + 1 is in the list
  return out
}

/**
 * The data of a round: advantages within each group, and the penalty for moving away from a reference where there is one. A
 * group in which all earned the same says nothing and is left out, unless there is a penalty.
 *
 * @since 0.2.0
 * @category data
 */
export const dataOf = (
  sample: Sample,
  options: { readonly advantage?: Advantage.Kind | undefined; readonly penalty?: KlPenalty | undefined } = {}
): ReadonlyArray<Datum.Datum> => {
  const { penalty } = options
  const all = penalty === undefined
    ? []
    : sample.groups.flatMap(({ trajectories }) => trajectories.flatMap((one) => distancesOf(one).flat()))
  const mean = all.length === 0 || penalty?.centred === false
    ? 0
    : all.reduce((sum, value) => sum + value, 0) / all.length
  return sample.groups.flatMap(({ rewards, trajectories }) => {
    const advantages = Advantage.of(options.advantage ?? "mean", rewards)
    return trajectories.flatMap((trajectory, i) => {
      const own = advantages[i] ?? 0
      if (penalty === undefined) return toData(trajectory, own)
      const distances = distancesOf(trajectory)
      const discount = penalty.discount ?? 0
      const terms = distances.map((list) => list.map((distance) => penalty.coefficient * (mean - distance)))
      const added = discount > 0 ? terms.map((list) => discounted(list, discount)) : terms
      return toData(trajectory, (t, token) => own + (added[t]?.[token] ?? 0))
    })
  })
}

/**
 * A group with what a reference gives the tokens of every action.
 *
 * @since 0.2.0
 * @category data
 */
export const withReference = (
  reference: SamplingClient.Client,
  group: SampledGroup
): Effect.Effect<SampledGroup, TinkexError> =>
  Effect.map(
    Effect.forEach(group.trajectories, (trajectory) =>
      Effect.map(
        Effect.forEach(trajectory.transitions, (transition) =>
          Effect.map(
            reference.computeLogprobs([...transition.observation, ...transition.tokens]),
            (logprobs) => ({
              ...transition,
              reference: logprobs.slice(transition.observation.length).map((value) => value ?? 0)
            })
          ), { concurrency: 8 }),
        (transitions) => ({ ...trajectory, transitions })
      ), { concurrency: 16 }),
    (trajectories) => ({ ...group, trajectories })
  )

/**
 * Tokens that a round read and wrote.
 *
 * @since 0.2.0
 * @category getters
 */
export const usageOf = ({ groups }: Sample): Rollouts.Usage => {
  let [sampled, prefill] = [0, 0]
  for (const { trajectories } of groups) {
    for (const { transitions } of trajectories) {
      for (const { observation, tokens } of transitions) {
        sampled += tokens.length
        prefill += observation.length
      }
    }
  }
  return { sampled, prefill }
}

/**
 * Rounds of episodes, as `Run.train` takes them: what was sampled is kept before it is trained on, so that a run that is taken
 * up again samples nothing twice.
 *
 * @since 0.2.0
 * @category constructors
 */
export const rollouts = <E = never, R = never>(
  options: Options<E, R>
): Rollouts.Rollouts<E | TinkexError, R> => {
  const { reference, timing = { _tag: "onPolicy" } } = options
  const sampleGroup = (
    sampler: SamplingClient.Client,
    group: Environment.Group<E, R>,
    seed: number
  ): Effect.Effect<ReadonlyArray<SampledGroup>, E | TinkexError, R> =>
    Effect.gen(function*() {
      const trajectories = yield* Episode.group(sampler, group, { ...options, seed })
      const own = trajectories.map((one) => one.transitions.reduce((sum, { reward }) => sum + reward, 0))
      const given = group.reward === undefined ? [] : yield* group.reward(trajectories)
      const sampled = {
        tags: group.tags ?? [],
        rewards: own.map((reward, i) => reward + (given[i] ?? 0)),
        trajectories
      }
      return [reference === undefined ? sampled : yield* withReference(reference.sampler, sampled)]
    }).pipe(
      Effect.catchAll((error) =>
        error instanceof Episode.GroupFailed
          // a group that failed too often is left out; the round goes on without it
          ? Effect.as(Effect.logWarning(error.message), [])
          : Effect.fail(error as E | TinkexError) // what is left of the union
      )
    )
  return Rollouts.make({
    schema: Sample,
    updates: options.updates,
    ahead: timing._tag === "offPolicy" ? timing.behind : 0,
    sample: ({ index, sampler, seed }) =>
      Effect.gen(function*() {
        const groups = yield* options.groups(index)
        const sampled = yield* Effect.forEach(
          groups,
          (group, i) => sampleGroup(sampler, group, Episode.mix(seed, i)),
          { concurrency: options.concurrency ?? "unbounded" }
        )
        return { groups: sampled.flat(), failed: sampled.filter(({ length }) => length === 0).length }
      }),
    data: (sample, { part }) =>
      Effect.sync(() => {
        const data = dataOf(sample, { advantage: options.advantage, penalty: reference?.penalty })
        const updates = options.updates ?? 1
        const size = Math.ceil(data.length / updates)
        return orStill(data.slice(part * size, (part + 1) * size), sample.groups)
      }),
    usage: usageOf,
    metrics: statistics,
    summaries: ({ groups }) =>
      groups.flatMap(({ rewards, tags, trajectories }) =>
        trajectories.map(({ stopped, transitions }, i) => ({
          total_reward: rewards[i] ?? 0,
          steps: transitions.length,
          stop_reason: stopped,
          tags
        }))
      )
  })
}

const lossOf = (timing: Timing | undefined) => timing?.loss ?? "importance_sampling"

/**
 * Trains a run by its rewards, from where it is to the end.
 *
 * @since 0.2.0
 * @category training
 */
export const train = <E = never, R = never>(
  run: Run.Run,
  options: Options<E, R>
): Effect.Effect<Run.Summary, E | TinkexError | Run.TrainError, R> => {
  const total = options.rounds * (options.updates ?? 1)
  const rate = options.learningRate ?? 4e-4
  return run.train<E | TinkexError, R>({
    batches: rollouts(options),
    loss: lossOf(options.timing),
    lossConfig: options.lossConfig,
    adam: { learningRate: typeof rate === "number" ? Schedule.constant(rate) : rate, eps: 1e-8 },
    total,
    checkpoint: options.checkpoint ?? { every: 20, keep: 3 },
    metrics: ({ data, output }) => offPolicyness(data, output)
  })
}

/** How far the weights in training are from those that sampled: `q` the sampler's logprob, `p` that of training. */
const offPolicyness = (
  data: ReadonlyArray<Datum.Datum>,
  output: Run.PassOutput
): Readonly<Record<string, number>> => {
  let [first, second, entropy, count] = [0, 0, 0, 0]
  data.forEach(({ lossFnInputs }, d) => {
    const p = output.lossFnOutputs?.[d]?.["logprobs"]?.data ?? []
    const q = lossFnInputs["logprobs"]?.data ?? []
    const advantages = lossFnInputs["advantages"]?.data ?? []
    for (let i = 0; i < q.length; i++) {
      if (Number(advantages[i]) === 0) continue
      const distance = Number(q[i]) - Number(p[i])
      first += distance
      second += 0.5 * distance * distance
      entropy -= Number(q[i])
      count++
    }
  })
  return count === 0 ? {} : {
    "optim/kl_sample_train_v1": first / count,
    "optim/kl_sample_train_v2": second / count,
    "optim/entropy": entropy / count
  }
}
