/**
 * Figures of a round of episodes, under the official cookbook's names.
 */
import type { Sample } from "./Reinforcement.js"

interface Sums {
  episodes: number
  turns: number
  actionTokens: number
  observationTokens: number
  reward: number
  readonly metrics: Map<string, { sum: number; count: number }>
}

const empty = (): Sums => ({
  episodes: 0,
  turns: 0,
  actionTokens: 0,
  observationTokens: 0,
  reward: 0,
  metrics: new Map()
})

const told = (prefix: string, sums: Sums): ReadonlyArray<readonly [string, number]> => [
  [`${prefix}/ac_tokens_per_turn`, sums.turns === 0 ? 0 : sums.actionTokens / sums.turns],
  [`${prefix}/ob_tokens_per_turn`, sums.turns === 0 ? 0 : sums.observationTokens / sums.turns],
  [`${prefix}/turns_per_episode`, sums.episodes === 0 ? 0 : sums.turns / sums.episodes],
  [`${prefix}/total_episodes`, sums.episodes],
  [`${prefix}/total_turns`, sums.turns],
  [`${prefix}/total_ac_tokens`, sums.actionTokens],
  [`${prefix}/total_ob_tokens`, sums.observationTokens],
  [`${prefix}/reward/total`, sums.episodes === 0 ? 0 : sums.reward / sums.episodes],
  ...[...sums.metrics].map(([name, { count, sum }]) => [`${prefix}/${name}`, sum / count] as const)
]

/** A group counts as good above this reward, as bad below. */
const threshold = 0.5

export const statistics = ({ failed, groups }: Sample): Readonly<Record<string, number>> => {
  const by = new Map<string, Sums>([["env/all", empty()]])
  const stops = new Map<string, number>()
  let [good, bad] = [0, 0]
  for (const { rewards, tags, trajectories } of groups) {
    const all = rewards.every((reward) => reward >= threshold)
    const none = rewards.every((reward) => reward < threshold)
    if (all) good++
    else if (none) bad++
    for (const prefix of ["env/all", ...tags.map((tag) => `env/${tag}`)]) {
      const sums = by.get(prefix) ?? empty()
      by.set(prefix, sums)
      trajectories.forEach(({ transitions }, i) => {
        sums.episodes++
        sums.turns += transitions.length
        sums.reward += rewards[i] ?? 0
        for (const { metrics, observation, tokens } of transitions) {
          sums.actionTokens += tokens.length
          sums.observationTokens += observation.length
          for (const [name, value] of Object.entries(metrics)) {
            const entry = sums.metrics.get(name) ?? { sum: 0, count: 0 }
            sums.metrics.set(name, { sum: entry.sum + value, count: entry.count + 1 })
          }
        }
      })
    }
    for (const { stopped } of trajectories) stops.set(stopped, (stops.get(stopped) ?? 0) + 1)
  }
  const n = Math.max(1, groups.length)
  const episodes = Math.max(1, by.get("env/all")?.episodes ?? 0)
  return Object.fromEntries([
    ...[...by].flatMap(([prefix, sums]) => told(prefix, sums)),
    ["by_group/frac_all_good", good / n],
    ["by_group/frac_all_bad", bad / n],
    ["by_group/frac_mixed", (groups.length - good - bad) / n],
    ["by_group/failed", failed],
    ...[...stops].map(([reason, count]) => [`stop/${reason}`, count / episodes] as const)
  ])
}
