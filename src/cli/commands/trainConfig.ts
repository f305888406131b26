/**
 * What the files that `tinkex train` reads may say.
 */
import * as Schema from "effect/Schema"
import { TrainOn } from "../../chat/TrainOn.js"

const Text = Schema.NonEmptyString
const Count = Schema.Int.pipe(Schema.positive())
const Positive = Schema.Number.pipe(Schema.finite(), Schema.positive())

/** What every training says. Files are found from where the configuration is. */
const common = {
  /** Where the run is kept. */
  directory: Text,
  model: Text,
  rank: Schema.optional(Count),
  seed: Schema.optional(Schema.Int),
  learningRate: Schema.optional(Positive),
  /** The model's own unless given. */
  renderer: Schema.optional(Text),
  /** Weights to begin with. */
  loadCheckpoint: Schema.optional(Text),
  /** Updates between checkpoints; 20 unless given. */
  saveEvery: Schema.optional(Count)
}

const batches = {
  batchSize: Schema.optionalWith(Count, { default: () => 16 }),
  epochs: Schema.optionalWith(Count, { default: () => 1 }),
  maxLength: Schema.optional(Count)
}

export const Sft = Schema.Struct({
  ...common,
  ...batches,
  /** Conversations, a line each. */
  data: Text,
  /** Conversations that are never trained on. */
  heldOut: Schema.optional(Text),
  train: Schema.optional(TrainOn),
  evaluateEvery: Schema.optional(Count)
})

export const Dpo = Schema.Struct({
  ...common,
  ...batches,
  /** Pairs of answers, a line each. */
  pairs: Text,
  beta: Schema.optionalWith(Positive, { default: () => 0.1 })
})

/** How episodes and answers are drawn. */
const sampling = {
  rounds: Count,
  maxTokens: Schema.optionalWith(Count, { default: () => 256 }),
  temperature: Schema.optionalWith(Positive, { default: () => 1 })
}

export const Rl = Schema.Struct({
  ...common,
  ...sampling,
  /** Conversations whose last message is the answer that is wanted. */
  problems: Text,
  /** When an answer is right: it is the one that is wanted, has it within, or ends on the same number. */
  grade: Schema.optionalWith(Schema.Literal("exact", "contains", "number"), { default: () => "exact" as const }),
  groupSize: Schema.optionalWith(Count, { default: () => 8 }),
  groupsPerRound: Schema.optionalWith(Count, { default: () => 16 }),
  loss: Schema.optional(Schema.Literal("importance_sampling", "ppo", "cispo", "dro", "gspo")),
  advantage: Schema.optional(Schema.Literal("mean", "meanStd", "leaveOneOut")),
  /** Of a penalty for moving away from the base model; none unless given. */
  kl: Schema.optional(Positive)
})

const teacher = {
  /** A base model, or weights by their path. */
  teacher: Text
}

export const Distill = Schema.Union(
  Schema.Struct({
    ...common,
    ...teacher,
    ...sampling,
    kind: Schema.Literal("onPolicy"),
    /** Conversations; what the student says comes in place of their last message, if that is an answer. */
    prompts: Text,
    promptsPerRound: Schema.optionalWith(Count, { default: () => 16 }),
    samples: Schema.optionalWith(Count, { default: () => 4 }),
    coefficient: Schema.optional(Positive)
  }),
  Schema.Struct({
    ...common,
    ...teacher,
    ...batches,
    kind: Schema.Literal("prompt"),
    /** What the teacher is told and the student will know by itself. */
    system: Text,
    /** Conversations; the teacher's answer comes in place of their last message, if that is an answer. */
    prompts: Text,
    samples: Schema.optionalWith(Count, { default: () => 1 }),
    maxTokens: Schema.optionalWith(Count, { default: () => 256 }),
    temperature: Schema.optionalWith(Positive, { default: () => 1 })
  })
)

export type Sft = typeof Sft.Type
export type Dpo = typeof Dpo.Type
export type Rl = typeof Rl.Type
export type Distill = typeof Distill.Type
export type Common = Pick<Sft, keyof typeof common>
