/** What is trained on when a round has taught nothing. */
import * as Datum from "../protocol/Datum.js"
import type { Trajectory } from "./Environment.js"

/**
 * Data, or, where there are none because all episodes earned the same, the first action of the round with advantages of 0: the
 * step is made, and its gradient is nothing. The official cookbook does so too.
 */
export const orStill = (
  data: ReadonlyArray<Datum.Datum>,
  groups: ReadonlyArray<{ readonly trajectories: ReadonlyArray<Trajectory> }>
): ReadonlyArray<Datum.Datum> => {
  if (data.length > 0) return data
  for (const { trajectories } of groups) {
    for (const { transitions: [first] } of trajectories) {
      const tokens = first === undefined ? [] : [...first.observation, ...first.tokens]
      if (first === undefined || tokens.length < 2) continue
      const logprobs = [...first.observation.map(() => 0), ...first.logprobs]
      return [Datum.make({
        modelInput: tokens.slice(0, -1),
        lossFnInputs: {
          target_tokens: tokens.slice(1),
          logprobs: logprobs.slice(1),
          advantages: new Float32Array(tokens.length - 1)
        }
      })]
    }
  }
  return data
}
