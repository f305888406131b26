import { sized } from "../support/deep.js"

/** 100 runs of 100 commands, always the same ones; a tenth of the runs in `npm test`. */
export const steps = 100
export const runs = sized(100)
export const model = { fastCheck: { numRuns: runs, seed: 20260831 } }
