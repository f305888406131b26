/**
 * Several passes, or several updates, submitted together and answered one by one.
 *
 * The service has no endpoint for batches. Items that stand next to each other and share loss and settings travel as one
 * request, because gradients add up; all requests go out in one turn, so that their numbers are contiguous and nothing of
 * others comes between; results are given back for each item.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Future from "../client/Future.js"
import type { Client } from "../client/TrainingClient.js"
import * as Telemetry from "../observability/Telemetry.js"
import type { Datum } from "../protocol/Datum.js"
import { attempt, InvalidInput, TypeId } from "../protocol/InvalidInput.js"
import type {
  AdamParams,
  ForwardBackwardOutput,
  LossFn,
  LossFnConfig,
  OptimStepResponse
} from "../protocol/Training.js"
import type { TinkexError } from "../TinkexError.js"
import { lossSum } from "./internal/losses.js"
import * as Names from "./options.js"

/**
 * One pass of a batch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Item {
  readonly data: ReadonlyArray<Datum>
  readonly lossFn: LossFn
  readonly config?: LossFnConfig | undefined
}

/**
 * Items that travelled as one request, and failed as one.
 *
 * @since 0.1.0
 * @category errors
 */
export class BatchGroupFailed extends Data.TaggedError("BatchGroupFailed")<{
  /** The first and the last of the items, from 0. */
  readonly first: number
  readonly last: number
  readonly cause: TinkexError
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `items ${this.first} to ${this.last} of the batch, which travelled as one request: ${this.cause.message}; `
      + "with merge: false each item travels and fails by itself"
  }
}

/**
 * What can go wrong with an item.
 *
 * @since 0.1.0
 * @category errors
 */
export type ItemError = TinkexError | BatchGroupFailed

/**
 * A batch that has been submitted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Batch<out A> {
  /** Waits for one item, in the order in which they were given. */
  readonly results: ReadonlyArray<Effect.Effect<A, ItemError>>
  /** Waits for all of them, and gives every outcome: one that failed does not hide the others. */
  readonly await: Effect.Effect<ReadonlyArray<Exit.Exit<A, ItemError>>>
}

/**
 * Settings of a batch.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Most items, 10 unless given. More are refused before anything is sent. */
  readonly maxItems?: number | undefined
}

/**
 * Settings of a batch of passes.
 *
 * @since 0.1.0
 * @category models
 */
export interface MergeOptions extends Options {
  /**
   * Whether neighbours that share loss and settings may travel as one request; `true` unless given. With `false` every item
   * is a request of its own: an item that is refused, here or at the service, leaves the others alone.
   */
  readonly merge?: boolean | undefined
}

const defaultMaxItems = 10

const refuseOversize = (
  kind: string,
  count: number,
  options: Options | undefined
): Effect.Effect<void, InvalidInput> => {
  const most = options?.maxItems ?? defaultMaxItems
  return Effect.zipRight(
    attempt(() => Names.batch(options)),
    count <= most ? Effect.void : Effect.fail(
      new InvalidInput({
        field: `${kind}.items`,
        expected: `at most ${most} items (maxItems allows more)`,
        actual: `${count}`
      })
    )
  )
}

/** The batch of results that are awaited by effects, with an event when the last one has been seen. */
const observed = <A>(
  kind: string,
  requests: number,
  started: number,
  telemetry: Telemetry.TelemetryService,
  waits: ReadonlyArray<Effect.Effect<A, ItemError>>
): Batch<A> => {
  const seen = new Map<number, boolean>()
  const see = (index: number, failed: boolean) =>
    Effect.suspend(() => {
      if (seen.has(index)) return Effect.void
      seen.set(index, failed)
      return seen.size < waits.length ? Effect.void : Effect.flatMap(Clock.currentTimeMillis, (now) =>
        telemetry.emit({
          _tag: "BatchStop",
          kind,
          items: waits.length,
          requests,
          failed: Array.from(seen.values()).filter((failed) => failed).length,
          durationMs: now - started
        }))
    })
  const results = waits.map((wait, index) =>
    Effect.onExit(wait, (exit) => Exit.isInterrupted(exit) ? Effect.void : see(index, Exit.isFailure(exit)))
  )
  return { results, await: Effect.forEach(results, Effect.exit) }
}

const submitted = <A>(
  kind: string,
  count: number,
  submit: Effect.Effect<
    { readonly requests: number; readonly waits: ReadonlyArray<Effect.Effect<A, ItemError>> },
    TinkexError
  >
): Effect.Effect<Batch<A>, TinkexError> =>
  Effect.gen(function*() {
    if (count === 0) return { results: [], await: Effect.succeed([]) }
    const telemetry = yield* Telemetry.Telemetry
    const started = yield* Clock.currentTimeMillis
    yield* telemetry.emit({ _tag: "BatchStart", kind, items: count })
    const { requests, waits } = yield* submit
    return observed(kind, requests, started, telemetry, waits)
  })

interface Group {
  readonly first: number
  readonly items: ReadonlyArray<Item>
}

const together = (a: Item, b: Item): boolean =>
  a.lossFn === b.lossFn && Equal.equals(Data.struct({ ...a.config }), Data.struct({ ...b.config }))

const group = (items: ReadonlyArray<Item>): ReadonlyArray<Group> => {
  const groups: Array<{ readonly first: number; readonly items: Array<Item> }> = []
  items.forEach((item, index) => {
    const last = groups[groups.length - 1]
    if (last !== undefined && together(last.items[0], item)) last.items.push(item)
    else groups.push({ first: index, items: [item] })
  })
  return groups
}

/** What one item of a group is answered: its own outputs, and their loss. */
const share = ({ items }: Group, index: number, output: ForwardBackwardOutput): ForwardBackwardOutput => {
  if (items.length === 1) return output
  const from = items.slice(0, index).reduce((sum, { data }) => sum + data.length, 0)
  const item = items[index]
  const lossFnOutputs = output.lossFnOutputs.slice(from, from + item.data.length)
  const loss = lossSum(item.data, lossFnOutputs, item.lossFn, item.config)
  return {
    lossFnOutputType: output.lossFnOutputType,
    lossFnOutputs,
    metrics: loss === undefined ? {} : { "loss:sum": loss }
  }
}

/** Each item of a group is told of a failure once, before anybody who awaits it again asks the service again. */
const toldToEach = <A, E>(output: Effect.Effect<A, E>): (index: number) => Effect.Effect<A, E> => {
  let failure: { readonly cause: Cause.Cause<E>; readonly told: Set<number> } | undefined
  return (index) =>
    Effect.suspend(() => {
      if (failure !== undefined && !failure.told.has(index)) {
        failure.told.add(index)
        return Effect.failCause(failure.cause)
      }
      failure = undefined
      return Effect.tapErrorCause(output, (cause) =>
        Effect.sync(() => {
          if (Cause.isInterruptedOnly(cause)) return
          failure ??= { cause, told: new Set() }
          failure.told.add(index)
        }))
    })
}

/** One refusal of an item, seen from the batch. */
const checkItem = (training: Client, item: Item, index: number) =>
  Effect.mapError(training.check(item.data, item.lossFn, item.config), (error) => error.within(`items[${index}]`))

/**
 * Submits passes together. Every item is checked before any is sent. An empty batch is answered at once. A request that the
 * service fails fails its items with one error that names them.
 *
 * @since 0.1.0
 * @category combinators
 */
export const forwardBackward = (
  training: Client,
  items: ReadonlyArray<Item>,
  options?: MergeOptions
): Effect.Effect<Batch<ForwardBackwardOutput>, TinkexError> => {
  const kind = "forward_backward"
  const pass = (client: Client, { config, data, lossFn }: Item) => client.forwardBackward(data, lossFn, config)
  const alone = (client: Client) =>
    Effect.map(
      Effect.forEach(items, (item, index) =>
        Effect.exit(Effect.zipRight(checkItem(client, item, index), pass(client, item)))),
      (exits) => ({
        requests: exits.filter(Exit.isSuccess).length,
        waits: exits.map(Exit.match({ onFailure: Effect.failCause, onSuccess: Future.await }))
      })
    )
  const merged = (client: Client) =>
    Effect.gen(function*() {
      yield* Effect.forEach(items, (item, index) => checkItem(client, item, index), { discard: true })
      const groups = group(items)
      const waits = yield* Effect.forEach(groups, (group) => {
        const [first] = group.items
        const failed = (cause: TinkexError): ItemError =>
          group.items.length === 1
            ? cause
            : new BatchGroupFailed({ first: group.first, last: group.first + group.items.length - 1, cause })
        return Effect.map(
          Effect.exit(pass(client, { ...first, data: group.items.flatMap(({ data }) => data) })),
          (exit) => {
            const output = toldToEach(Exit.match(exit, { onFailure: Effect.failCause, onSuccess: Future.await }))
            return group.items.map((_, index) =>
              Effect.mapBoth(output(index), { onFailure: failed, onSuccess: (whole) => share(group, index, whole) })
            )
          }
        )
      })
      return { requests: groups.length, waits: waits.flat() }
    })
  return Effect.zipRight(
    refuseOversize(kind, items.length, options),
    submitted(kind, items.length, training.inOneTurn(options?.merge === false ? alone : merged))
  )
}

/**
 * Submits updates together, in order. One that is refused leaves the others alone.
 *
 * @since 0.1.0
 * @category combinators
 */
export const optimStep = (
  training: Client,
  params: ReadonlyArray<Partial<AdamParams>>,
  options?: Options
): Effect.Effect<Batch<OptimStepResponse>, TinkexError> => {
  const kind = "optim_step"
  return Effect.zipRight(
    refuseOversize(kind, params.length, options),
    submitted(
      kind,
      params.length,
      training.inOneTurn((client) =>
        Effect.map(Effect.forEach(params, (adam) => Effect.exit(client.optimStep(adam))), (exits) => ({
          requests: exits.filter(Exit.isSuccess).length,
          waits: exits.map(Exit.match({ onFailure: Effect.failCause, onSuccess: Future.await }))
        }))
      )
    )
  )
}
