/** The figures of a step, under the cookbook's names. */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type { OptimStepResponse } from "../protocol/Training.js"
import { meanNll } from "./batchFacts.js"
import * as Cost from "./Cost.js"
import type { Handed, Pass } from "./pass.js"
import type { PassOutput } from "./Run.js"
import type { Row } from "./RunDirectory.js"
import { position } from "./saver.js"

export const rowOf = <E, R>(
  { plan, run }: Pass<E, R>,
  one: Handed,
  output: PassOutput,
  update: OptimStepResponse,
  seconds: number
): Effect.Effect<Row> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const { data, evaluation, facts, round, step } = one
    const nll = meanNll(data, output)
    const row: Record<string, number | string> = {
      step,
      epoch: position(step, plan.batchesPerEpoch).epoch,
      progress: (step + 1) / plan.total,
      learning_rate: one.adam.learningRate,
      num_sequences: facts.sequences,
      num_tokens: facts.tokens,
      ...(facts.lossTokens === undefined ? {} : { num_loss_tokens: facts.lossTokens }),
      ...(nll === undefined ? {} : { train_mean_nll: nll }),
      ...output.metrics,
      ...update.metrics,
      ...round?.metrics,
      ...plan.metrics?.({ step, data, output, update }),
      ...evaluation,
      ...Cost.metrics(run.rates, one.usage, one.cumulative),
      "time/step": seconds
    }
    for (const { duration, name } of one.spans) row[`time/${name.replaceAll(" ", "_")}`] = duration
    row["timestamp"] = DateTime.formatIso(DateTime.unsafeMake(now))
    return row
  })
