/** The names of the options of this room. What each is for stands at its type. */
import { known } from "../protocol/options.js"
import type * as Batch from "./Batch.js"
import type * as Download from "./Download.js"
import type * as TrainingLoop from "./TrainingLoop.js"

export const batch = known<Batch.MergeOptions>("a batch", { maxItems: true, merge: true })

export const step = known<TrainingLoop.StepOptions>("trainStep", { adam: true, config: true, loss: true })

export const run = known<TrainingLoop.RunOptions>("run", { adam: true, config: true, inFlight: true, loss: true })

export const download = known<Download.Options>("download", {
  attempts: true,
  directory: true,
  idleTimeout: true,
  maxBytes: true,
  maxEntries: true,
  onProgress: true,
  overwrite: true
})
