/** What the journal of a run says, and what it adds up to. */
import { add, nothing, type Usage } from "./Cost.js"
import type { Json } from "./Journal.js"

/** A line of the journal. Times are milliseconds since 1970. */
export type Entry =
  /** The directory was opened, for the how-manieth time, with these settings. */
  | { readonly t: "opened"; readonly at: number; readonly attempt: number; readonly settings: Json }
  /** What `train` is to do. */
  | { readonly t: "plan"; readonly plan: Json }
  /** A model works for the run from now on: from scratch, or from a checkpoint. */
  | {
    readonly t: "model"
    readonly at: number
    readonly modelId: string
    readonly sessionId: string
    readonly from: string | null
    readonly updates: number
  }
  /** A batch is about to be handed in, and its update behind it. */
  | { readonly t: "batch"; readonly step: number; readonly digest: string; readonly tokens: number }
  /** A checkpoint is about to be handed in, directly behind so many updates. */
  | { readonly t: "saving"; readonly name: string; readonly updates: number }
  /** The update by the batch of this step was answered. */
  | { readonly t: "applied"; readonly step: number }
  | ({ readonly t: "saved" } & Saved)
  /** A checkpoint is about to be removed at the service. */
  | { readonly t: "removing"; readonly path: string }
  | { readonly t: "removed"; readonly path: string }
  /** What was sampled, in a file of its own. */
  | { readonly t: "sampled"; readonly index: number; readonly crc: string; readonly usage: Usage }
  /** A value that is made once in the life of the run. */
  | { readonly t: "once"; readonly key: string; readonly value: Json }
  /** Settings were changed on purpose. */
  | { readonly t: "accepted"; readonly settings: ReadonlyArray<string> }

/** A complete checkpoint. */
export interface Saved {
  readonly at: number
  /** Updates that it holds. */
  readonly updates: number
  readonly name: string
  readonly path: string
  readonly sampler?: string | undefined
  /** `adopted`: somebody else wrote it, as Python's cookbook. */
  readonly kind: "periodic" | "rolling" | "final" | "adopted"
  /** Tokens trained on until then. */
  readonly tokens: number
  /** Value of the metric that the best are kept by. */
  readonly score?: number | undefined
}

/** A checkpoint that was asked for and of which nothing was heard. */
export interface Unanswered {
  readonly name: string
  readonly updates: number
  readonly modelId: string
  readonly tokens: number
}

export interface State {
  attempt: number
  settings: Json | undefined
  plan: Json | undefined
  model: Extract<Entry, { readonly t: "model" }> | undefined
  /** Models that worked for the run. */
  readonly models: Set<string>
  /** Complete ones that were not removed, oldest first. */
  readonly checkpoints: Array<Saved>
  readonly removing: Set<string>
  /** Paths of all that were ever complete. */
  readonly known: Set<string>
  readonly unanswered: Array<Unanswered>
  /** Digests of batches since the newest checkpoint. */
  readonly batches: Map<number, string>
  readonly samples: Map<number, { readonly crc: string }>
  readonly once: Map<string, Json>
  /** Updates that were answered, on the way to the present weights. */
  applied: number
  /** Tokens of the batches that were handed in, on the way to the present weights. */
  tokens: number
  /** Tokens of everything that was handed in, also of what was done again. */
  spent: Usage
}

export const empty = (): State => ({
  attempt: 0,
  settings: undefined,
  plan: undefined,
  model: undefined,
  models: new Set(),
  checkpoints: [],
  removing: new Set(),
  known: new Set(),
  unanswered: [],
  batches: new Map(),
  samples: new Map(),
  once: new Map(),
  applied: 0,
  tokens: 0,
  spent: nothing
})

/** Takes an entry into the state, in place. */
export const apply = (state: State, entry: Entry): State => {
  switch (entry.t) {
    case "opened":
      state.attempt = entry.attempt
      state.settings = entry.settings
      break
    case "plan":
      state.plan = entry.plan
      break
    case "model":
      state.model = entry
      state.models.add(entry.modelId)
      state.applied = entry.updates
      state.tokens = state.checkpoints.find(({ path }) => path === entry.from)?.tokens ?? 0
      break
    case "batch":
      state.batches.set(entry.step, entry.digest)
      state.tokens += entry.tokens
      state.spent = add(state.spent, { ...nothing, trained: entry.tokens })
      break
    case "saving":
      if (state.model !== undefined) {
        const { name, updates } = entry
        state.unanswered.push({ name, updates, modelId: state.model.modelId, tokens: state.tokens })
      }
      break
    case "applied":
      state.applied = entry.step + 1
      break
    case "saved": {
      const { t: _t, ...saved } = entry
      state.checkpoints.push(saved)
      state.known.add(saved.path)
      const answered = state.unanswered.findIndex(({ name, updates }) =>
        name === saved.name && updates === saved.updates
      )
      if (answered >= 0) state.unanswered.splice(answered, 1)
      // batches before it are never handed in again
      for (const step of state.batches.keys()) if (step < saved.updates) state.batches.delete(step)
      break
    }
    case "removing":
      state.removing.add(entry.path)
      break
    case "removed": {
      state.removing.delete(entry.path)
      const at = state.checkpoints.findIndex(({ path }) => path === entry.path)
      if (at >= 0) state.checkpoints.splice(at, 1)
      break
    }
    case "sampled":
      state.samples.set(entry.index, { crc: entry.crc })
      state.spent = add(state.spent, entry.usage)
      break
    case "once":
      state.once.set(entry.key, entry.value)
      break
    case "accepted":
      break
  }
  return state
}

/** Complete checkpoints that may be loaded, the best to go on from first. */
export const candidates = (state: State): ReadonlyArray<Saved> =>
  state.checkpoints
    .map((saved, order) => ({ saved, order }))
    .filter(({ saved }) => !state.removing.has(saved.path))
    .sort((a, b) => b.saved.updates - a.saved.updates || b.order - a.order)
    .map(({ saved }) => saved)

/**
 * Whether a state of so many updates can be gone on from exactly: what was sampled with the weights before it has to be kept.
 */
export const isComplete = (
  state: State,
  plan: { readonly total: number; readonly rounds: { readonly updates: number; readonly ahead: number } | undefined },
  updates: number
): boolean => {
  if (plan.rounds === undefined) return true
  const { ahead, updates: each } = plan.rounds
  const count = Math.ceil(plan.total / each)
  for (let index = Math.floor(updates / each); index < Math.min(count, Math.ceil(updates / each) + ahead); index++) {
    if (Math.max(0, index - ahead) * each < updates && !state.samples.has(index)) return false
  }
  return true
}
