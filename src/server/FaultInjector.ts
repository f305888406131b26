/**
 * The points at which a test can make the server misbehave.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * Where the server asks for faults.
 *
 * - `request`: a request arrived; nothing was read or done. Faults: any but `Truncate`, `Malform`, `Drip`.
 * - `applied`: an operation was applied by the engine; its future is not settled yet. Faults: `Delay`. The others do
 *   not apply to it, because no response is open.
 * - `reply`: the answer is made, everything that it tells has happened. All faults. For `retrieve_future` there is one
 *   such point per poll, with `iteration` from the `X-Tinker-Request-Iteration` header.
 * - `storage`: a step of writing a checkpoint is about to happen. `Fail` makes the step fail, `Delay` holds it.
 *
 * @since 0.1.0
 * @category models
 */
export type Phase = "request" | "applied" | "reply" | "storage"

/**
 * One place of one request at which a fault may be injected.
 *
 * @since 0.1.0
 * @category models
 */
export interface FaultPoint {
  readonly phase: Phase
  /** Last fixed part of the route: `forward_backward`, `retrieve_future`, `archive`, or the kind of an applied operation. */
  readonly endpoint: string
  readonly method?: string | undefined
  /** Path with its ids, without the query. */
  readonly path?: string | undefined
  readonly modelId?: string | undefined
  readonly seqId?: number | undefined
  readonly requestId?: string | undefined
  /** Poll counter that the client sent with `retrieve_future`. */
  readonly iteration?: number | undefined
  /** Status of the answer, in phase `reply`. */
  readonly status?: number | undefined
  /** What is about to be done to a file, in phase `storage`. */
  readonly step?: "directory" | "write" | "sync" | "rename" | "remove" | undefined
}

/**
 * What goes wrong.
 *
 * - `Delay`: wait, then go on.
 * - `Respond`: answer this instead. In phase `request` nothing was done, in phase `reply` everything was.
 * - `Reset`: break the connection without an answer. In phase `request` before, in phase `reply` after the work was done.
 * - `Truncate`: announce the whole body, send its first `bytes` bytes, break the connection.
 * - `Malform`: send a body of the right type that cannot be decoded.
 * - `Drip`: send the body in pieces of `bytes`, one every `interval`.
 * - `Fail`: the storage step fails, as a full or broken disk would make it.
 *
 * @since 0.1.0
 * @category models
 */
export type Fault =
  | { readonly _tag: "Delay"; readonly duration: Duration.DurationInput }
  | {
    readonly _tag: "Respond"
    readonly status: number
    readonly headers?: Readonly<Record<string, string>> | undefined
    /** Sent as JSON. Absent: an empty body. */
    readonly body?: unknown
  }
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Truncate"; readonly bytes: number }
  | { readonly _tag: "Malform" }
  | { readonly _tag: "Drip"; readonly bytes: number; readonly interval: Duration.DurationInput }
  | { readonly _tag: "Fail" }

/**
 * Decides, point by point, what goes wrong: the faults are carried out in order. The default never injects anything.
 *
 * @since 0.1.0
 * @category services
 */
export class FaultInjector extends Context.Reference<FaultInjector>()("tinkex/server/FaultInjector", {
  defaultValue: (): (point: FaultPoint) => Effect.Effect<ReadonlyArray<Fault>> => () => none
}) {}

const none: Effect.Effect<ReadonlyArray<Fault>> = Effect.succeed([])
