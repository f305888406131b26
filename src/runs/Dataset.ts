/**
 * Data as a pure function of seed and step. The order of every epoch is a permutation that is computed and not kept, so that a
 * run finds its place again at once, however far it had come.
 *
 * @since 0.2.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { InvalidInput } from "../protocol/InvalidInput.js"
import { Hasher } from "./hash.js"
import { openLines } from "./lineIndex.js"
import { permuted } from "./permutation.js"
import type { RunStorageError } from "./RunError.js"

/**
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("tinkex/Dataset")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * Examples in batches, for as many epochs as wanted.
 *
 * @since 0.2.0
 * @category models
 */
export interface Dataset<out A, out E = never, out R = never> {
  readonly [TypeId]: TypeId
  /** How many examples there are. */
  readonly size: number
  readonly batchSize: number
  /** Whole batches of an epoch, and the rest if it is kept. */
  readonly batchesPerEpoch: number
  /** Of the order. That of the run unless given. */
  readonly seed: number | undefined
  readonly shuffle: boolean
  /** What the data are: differs when an example, the batch size or the order does. Computed once. */
  readonly fingerprint: Effect.Effect<string, E, R>
  /** The batch of a step, from 0. Any step, at once: the ones before it are not read. */
  readonly batch: (step: number, seed?: number) => Effect.Effect<ReadonlyArray<A>, E, R>
}

/**
 * How examples become batches.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** From 1. */
  readonly batchSize: number
  /** Of the order. That of the run unless given. */
  readonly seed?: number | undefined
  /** Whether every epoch has an order of its own; `true` unless given. With `false` it is that of the examples. */
  readonly shuffle?: boolean | undefined
  /** Whether an epoch ends with a smaller batch of what is left; `false` unless given, and what is left is left out. */
  readonly keepRest?: boolean | undefined
}

/**
 * @since 0.2.0
 * @category guards
 */
export const isDataset = (u: unknown): u is Dataset<unknown, unknown, unknown> => Predicate.hasProperty(u, TypeId)

/** As many examples of a source that cannot be read whole go into its fingerprint. */
const probes = 64

/**
 * A data set from a function of the index, for sources that are not in memory. The fingerprint is of the size and of 64
 * examples all over the source, unless there is one of the whole.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <A, E = never, R = never>(
  options: Options & {
    readonly size: number
    readonly get: (index: number) => Effect.Effect<A, E, R>
    /** Of the whole source, as a checksum of its file. */
    readonly fingerprint?: string | undefined
  }
): Effect.Effect<Dataset<A, E, R>, InvalidInput> =>
  Effect.gen(function*() {
    const { batchSize, get, keepRest = false, seed, shuffle = true, size } = options
    if (!Number.isSafeInteger(size) || size < 1) {
      return yield* new InvalidInput({ field: "size", expected: "at least one example", actual: "none" })
    }
    const most = keepRest ? Number.MAX_SAFE_INTEGER : size
    if (!Number.isSafeInteger(batchSize) || batchSize < 1 || batchSize > most) {
      return yield* new InvalidInput({
        field: "batchSize",
        expected: keepRest ? "a whole number from 1" : `a whole number from 1 to ${size}, the number of examples`,
        actual: String(batchSize)
      })
    }
    if (seed !== undefined && !Number.isSafeInteger(seed)) {
      return yield* new InvalidInput({ field: "seed", expected: "a whole number", actual: String(seed) })
    }
    const batchesPerEpoch = keepRest ? Math.ceil(size / batchSize) : Math.floor(size / batchSize)
    const about = (hasher: Hasher) => hasher.value([size, batchSize, keepRest, shuffle, seed ?? null])
    const fingerprint = options.fingerprint === undefined
      ? Effect.gen(function*() {
        const hasher = about(new Hasher())
        const step = Math.max(1, size / probes)
        for (let at = 0; at < size; at += step) hasher.value(yield* get(Math.floor(at)))
        return hasher.digest()
      })
      : Effect.succeed(about(new Hasher().text(options.fingerprint)).digest())
    return {
      [TypeId]: TypeId,
      size,
      batchSize,
      batchesPerEpoch,
      seed,
      shuffle,
      fingerprint: yield* Effect.cached(fingerprint),
      batch: (step, runSeed = 0) => {
        const epoch = Math.floor(step / batchesPerEpoch)
        const first = (step - epoch * batchesPerEpoch) * batchSize
        const order = shuffle ? permuted(size, seed ?? runSeed, epoch) : (place: number) => place
        const count = Math.min(batchSize, size - first)
        return Effect.forEach(Array.from({ length: count }, (_, i) => order(first + i)), get)
      }
    }
  })

/**
 * A data set of examples in memory. All of them go into the fingerprint.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromArray = <A>(
  examples: ReadonlyArray<A>,
  options: Options
): Effect.Effect<Dataset<A>, InvalidInput> => {
  const whole = Effect.sync(() => new Hasher().value(examples).digest())
  return Effect.map(
    make({ ...options, size: examples.length, get: (index) => Effect.succeed(examples[index]!) }),
    (self): Dataset<A> => ({
      ...self,
      fingerprint: Effect.zipWith(self.fingerprint, whole, (order, data) => new Hasher().text(order + data).digest())
    })
  )
}

/**
 * A data set of the lines of a JSON Lines file. The places of the lines are kept (24 bytes each), the lines are read when
 * their batch comes. The fingerprint is of the whole file.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromJsonLines = <A, I>(
  file: string,
  schema: Schema.Schema<A, I>,
  options: Options
): Effect.Effect<
  Dataset<A, RunStorageError | InvalidInput>,
  InvalidInput | RunStorageError,
  FileSystem.FileSystem | Scope.Scope
> =>
  Effect.gen(function*() {
    const lines = yield* openLines(file)
    const decode = Schema.decode(Schema.parseJson(schema))
    return yield* make({
      ...options,
      size: lines.count,
      fingerprint: lines.fingerprint,
      get: (index: number): Effect.Effect<A, RunStorageError | InvalidInput> =>
        Effect.flatMap(lines.read(index), (text) =>
          Effect.mapError(decode(text), () =>
            new InvalidInput({
              field: `line ${lines.numberOf(index)} of ${file}`,
              expected: "an example of the data set's schema",
              actual: "something else"
            })))
    })
  })

/**
 * The same data, each example through a function. What the function makes is in the fingerprint only by `version`: change it
 * when the function's results change.
 *
 * @since 0.2.0
 * @category combinators
 */
export const map: {
  <A, B, E2 = never, R2 = never>(
    f: (a: A) => Effect.Effect<B, E2, R2>,
    version: string
  ): <E, R>(self: Dataset<A, E, R>) => Dataset<B, E | E2, R | R2>
  <A, E, R, B, E2 = never, R2 = never>(
    self: Dataset<A, E, R>,
    f: (a: A) => Effect.Effect<B, E2, R2>,
    version: string
  ): Dataset<B, E | E2, R | R2>
} = dual(
  3,
  <A, E, R, B, E2, R2>(
    self: Dataset<A, E, R>,
    f: (a: A) => Effect.Effect<B, E2, R2>,
    version: string
  ): Dataset<B, E | E2, R | R2> => ({
    ...self,
    fingerprint: Effect.map(self.fingerprint, (data) => new Hasher().text(data).text(version).digest()),
    batch: (step, seed) => Effect.flatMap(self.batch(step, seed), (batch) => Effect.forEach(batch, f))
  })
)
