/**
 * What the server did, in the order in which it did it: for tests that check that everything happens exactly once.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"

/**
 * One operation that an engine applied.
 *
 * @since 0.1.0
 * @category models
 */
export interface Applied {
  readonly modelId: string
  readonly seqId: number
  /** Kind of operation, as its endpoint is called: `forward_backward`, `optim_step`, `save_weights`. */
  readonly endpoint: string
  readonly requestId: string
  readonly outcome: "success" | "failure"
}

/**
 * Where applied operations are told to. The default forgets them.
 *
 * @since 0.1.0
 * @category services
 */
export class AppliedLog extends Context.Reference<AppliedLog>()("tinkex/server/AppliedLog", {
  defaultValue: (): (entry: Applied) => Effect.Effect<void> => () => Effect.void
}) {}

/**
 * A log in memory: `record` is what `AppliedLog` is provided with, `entries` reads it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<{
  readonly record: (entry: Applied) => Effect.Effect<void>
  readonly entries: Effect.Effect<ReadonlyArray<Applied>>
}> = Effect.map(Ref.make(Chunk.empty<Applied>()), (ref) => ({
  record: (entry: Applied) => Ref.update(ref, Chunk.append(entry)),
  entries: Effect.map(Ref.get(ref), Chunk.toReadonlyArray)
}))
