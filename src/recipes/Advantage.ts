/**
 * How much better an episode was than its group.
 *
 * @since 0.2.0
 */

/**
 * Advantages of the rewards of a group.
 *
 * - `mean`: reward minus the mean, as the official cookbook has it.
 * - `meanStd`: the same divided by the standard deviation (GRPO, arXiv:2402.03300).
 * - `leaveOneOut`: reward minus the mean of the others (RLOO, arXiv:2402.14740).
 *
 * @since 0.2.0
 * @category models
 */
export type Kind = "mean" | "meanStd" | "leaveOneOut"

const meanOf = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length

/**
 * One advantage for each reward. They sum to 0. All are 0 where all rewards are equal, and for a group of one.
 *
 * @since 0.2.0
 * @category getters
 */
export const of = (kind: Kind, rewards: ReadonlyArray<number>): ReadonlyArray<number> => {
  const mean = meanOf(rewards)
  const centred = rewards.map((reward) => reward - mean)
  switch (kind) {
    case "mean":
      return centred
    case "meanStd": {
      const deviation = Math.sqrt(meanOf(centred.map((value) => value * value)))
      return deviation < 1e-8 ? rewards.map(() => 0) : centred.map((value) => value / deviation)
    }
    case "leaveOneOut": {
      // reward - (sum - reward) / (n - 1) = n / (n - 1) · (reward - mean)
      const n = rewards.length
      return n < 2 ? rewards.map(() => 0) : centred.map((value) => value * n / (n - 1))
    }
  }
}
