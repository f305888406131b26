/** The operations of one model on their way: in turns, numbered, each polled once the service has accepted it. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import { ClientClosed, type TinkexError } from "../../TinkexError.js"
import type * as Future from "../Future.js"
import * as Futures from "../future/future.js"
import type * as Polling from "../future/polling.js"
import * as QueueObserver from "../future/queueObserver.js"
import * as Monotonic from "../monotonic.js"
import type { Core } from "../service/core.js"
import { submit } from "../transport/submit.js"
import type { Body, Delivery } from "../transport/types.js"

/** Runs a send, or several, when their turn has come. */
export interface InTurn {
  <A, E, R>(send: Effect.Effect<A, E, R>): Effect.Effect<A, E, R>
}

/** One request of an operation. */
export interface Send<A> {
  readonly operation: string
  readonly path: string
  readonly result: Polling.ResultType<A>
  readonly body: (seqId: number) => Effect.Effect<Body, TinkexError>
  readonly weight?: number | undefined
  readonly onResult?: ((value: A, millis: number) => Effect.Effect<void>) | undefined
  readonly onUnsent?: (() => void) | undefined
  /** `false` for what has no place in the order of the model's operations. */
  readonly numbered?: false | undefined
}

export interface Operations {
  readonly core: Core
  readonly modelId: string
  readonly baseModel: string | undefined
  /** What the client is called in messages. */
  readonly name: string
  /** Fails once the client or its session is over. */
  readonly usable: (operation: string) => Effect.Effect<void, ClientClosed>
  /** Nothing is sent any more, because of this. */
  readonly end: (client: string) => void
  /** Sends one request with the next number, inside a turn, and polls it once it is accepted. */
  readonly send: <A>(request: Send<A>) => Effect.Effect<Future.Future<A>, TinkexError>
  /** Sends an operation of one request in a turn of its own. */
  readonly single: <A>(inTurn: InTurn, request: Send<A>) => Effect.Effect<Future.Future<A>, TinkexError>
  /** New turns, handed out in the order of asking. A turn ends with its send, however that ends. */
  readonly turns: Effect.Effect<InTurn>
}

export const make = (
  core: Core,
  modelId: string,
  baseModel: string | undefined
): Effect.Effect<Operations, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { telemetry, transport } = core
    const name = `training client ${modelId}`
    const home = yield* Futures.makeHome(name)
    const observer = QueueObserver.make(telemetry, "training", modelId)
    let lastSeq = 0
    let over: string | undefined
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        over ??= name
      })
    )

    const usable: Operations["usable"] = (operation) =>
      Effect.suspend(() =>
        over === undefined
          ? core.session.check(operation)
          : Effect.fail(new ClientClosed({ operation, client: over, certainlyNotSent: true }))
      )

    const send: Operations["send"] = (request) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Monotonic.millis, (startedAt) => {
          const { operation, path, result, weight } = request
          const seqId = request.numbered === false ? 0 : ++lastSeq
          const delivery: Delivery = { maybe: false }
          return restore(
            Effect.flatMap(
              request.body(seqId),
              (body) => submit(transport, { operation, path, pool: "training", body, weight, delivery })
            )
          ).pipe(
            Effect.onExit((exit) =>
              Effect.sync(() => {
                // nobody else can have taken a number in this turn
                if (Exit.isFailure(exit) && !delivery.maybe) {
                  if (request.numbered !== false) lastSeq--
                  request.onUnsent?.()
                }
              })
            ),
            Effect.flatMap(({ requestId }) =>
              Futures.start(
                core,
                home,
                { operation, kind: "training", requestId, result, observer, startedAt },
                request.onResult
              )
            )
          )
        })
      )

    return {
      core,
      modelId,
      baseModel,
      name,
      usable,
      end: (client) => {
        over = client
      },
      send,
      single: (inTurn, request) =>
        Effect.zipRight(usable(request.operation), inTurn(Effect.zipRight(usable(request.operation), send(request)))),
      turns: Effect.map(
        Effect.orDie(ConcurrencyGate.make(`${modelId}/turns`, { permits: 1, adaptive: false, pacing: "off" })),
        (gate): InTurn => <A, E, R>(send: Effect.Effect<A, E, R>) =>
          // the gate does not limit its waiters, so that only the send's own failures are left
          Effect.catchIf(gate.withPermit(send), ConcurrencyGate.isGateFull, Effect.die) as Effect.Effect<A, E, R>
      )
    }
  })
