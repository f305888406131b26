/**
 * Training steps, pipelined: gradients and update are submitted before either is awaited, and the next step before the last
 * one is done, so that the service never waits for the program.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Future from "../client/Future.js"
import type { Client } from "../client/TrainingClient.js"
import type { Datum } from "../protocol/Datum.js"
import { attempt, InvalidInput } from "../protocol/InvalidInput.js"
import type {
  AdamParams,
  ForwardBackwardOutput,
  LossFn,
  LossFnConfig,
  OptimStepResponse
} from "../protocol/Training.js"
import { mayHaveArrived, type TinkexError } from "../TinkexError.js"
import * as Names from "./options.js"

/**
 * What one step does.
 *
 * @since 0.1.0
 * @category models
 */
export interface StepOptions {
  readonly loss: LossFn
  readonly config?: LossFnConfig | undefined
  readonly adam?: Partial<AdamParams> | undefined
}

/**
 * What one step gives: outputs and metrics of the pass, and those of the update.
 *
 * @since 0.1.0
 * @category models
 */
export interface StepResult {
  readonly output: ForwardBackwardOutput
  readonly update: OptimStepResponse
}

/**
 * Submits the gradients of a batch and the update by them. Completes when both are acknowledged, with a future of their
 * results.
 *
 * @since 0.1.0
 * @category combinators
 */
export const trainStep = (
  training: Client,
  data: ReadonlyArray<Datum>,
  options: StepOptions
): Effect.Effect<Future.Future<StepResult>, TinkexError> =>
  Effect.gen(function*() {
    yield* attempt(() => Names.step(options))
    const output = yield* training.forwardBackward(data, options.loss, options.config)
    const update = yield* Effect.mapError(training.optimStep(options.adam), mayHaveArrived)
    return Future.zipWith(output, update, (output, update) => ({ output, update }))
  })

/**
 * A step of a run, when it is done.
 *
 * @since 0.1.0
 * @category models
 */
export interface Step extends StepResult {
  /** From 0. */
  readonly index: number
  /** How many examples the batch held. */
  readonly examples: number
  /** From submission to result, in milliseconds. */
  readonly millis: number
}

/**
 * Settings of a run.
 *
 * @since 0.1.0
 * @category models
 */
export interface RunOptions extends Omit<StepOptions, "adam"> {
  /** Settings of the update, or a schedule of them by step. */
  readonly adam?: Partial<AdamParams> | ((step: number) => Partial<AdamParams>) | undefined
  /** Most steps submitted and not done, from 1; 2 unless given. At 1 nothing overlaps. */
  readonly inFlight?: number | undefined
}

/**
 * Trains on a stream of batches, with at most `inFlight` steps submitted at a time: batches are pulled no faster than steps
 * are done. Steps come out in order. Ends at the first failure; interrupting it stops submitting.
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { type Datum, TrainingClient, TrainingLoop } from "tinkex"
 *
 * const fit = (batches: Stream.Stream<ReadonlyArray<Datum.Datum>>) =>
 *   Effect.gen(function*() {
 *     const training = yield* TrainingClient.TrainingClient
 *     yield* batches.pipe(
 *       TrainingLoop.run(training, { loss: "cross_entropy", adam: (step) => ({ learningRate: 1e-3 / (1 + step / 100) }) }),
 *       Stream.runForEach(({ index, output }) => Effect.log(`step ${index}: ${output.metrics["loss:sum"]}`))
 *     )
 *   })
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const run: {
  (
    training: Client,
    options: RunOptions
  ): <E, R>(batches: Stream.Stream<ReadonlyArray<Datum>, E, R>) => Stream.Stream<Step, E | TinkexError, R>
  <E, R>(
    batches: Stream.Stream<ReadonlyArray<Datum>, E, R>,
    training: Client,
    options: RunOptions
  ): Stream.Stream<Step, E | TinkexError, R>
} = dual(3, <E, R>(
  batches: Stream.Stream<ReadonlyArray<Datum>, E, R>,
  training: Client,
  options: RunOptions
): Stream.Stream<Step, E | TinkexError, R> => {
  try {
    Names.run(options)
  } catch (cause) {
    return cause instanceof InvalidInput ? Stream.fail(cause) : Stream.die(cause)
  }
  const inFlight = options.inFlight ?? 2
  if (!Number.isInteger(inFlight) || inFlight < 1) {
    return Stream.fail(
      new InvalidInput({ field: "inFlight", expected: "a whole number, from 1", actual: String(inFlight) })
    )
  }
  const { adam } = options
  return Stream.unwrap(Effect.gen(function*() {
    // A permit is taken before a batch is pulled and given back when its step is done
    const permits = yield* Queue.bounded<void>(inFlight)
    yield* Queue.offerAll(permits, Array.from({ length: inFlight }, () => undefined))
    return Stream.repeatEffect(Queue.take(permits)).pipe(
      Stream.zipRight(batches),
      Stream.zipWithIndex,
      Stream.mapEffect(([data, index]) =>
        Effect.gen(function*() {
          const submitted = yield* Clock.currentTimeMillis
          const future = yield* trainStep(training, data, {
            loss: options.loss,
            config: options.config,
            adam: typeof adam === "function" ? adam(index) : adam
          })
          return { future, index, examples: data.length, submitted }
        })
      ),
      Stream.buffer({ capacity: inFlight }),
      Stream.mapEffect(({ examples, future, index, submitted }) =>
        Effect.gen(function*() {
          const result = yield* Future.await(future)
          yield* Queue.offer(permits, undefined)
          return { ...result, index, examples, millis: (yield* Clock.currentTimeMillis) - submitted }
        })
      )
    )
  }))
})
