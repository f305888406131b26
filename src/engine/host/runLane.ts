/**
 * What is done for a run: operations in the order in which they come, each in one or more slices.
 */
import * as Either from "effect/Either"
import { EngineError, type PassRequest, type PassResult } from "../Engine.js"
import type { Evaluation, Run } from "../run/run.js"
import type { SamplerModel } from "../sampler/jobs.js"
import { type OperationName, type Operations, type Outcome, type PeerMessage, toOutcome } from "./messages.js"
import type { Lane } from "./scheduler.js"

export type Result<A> = Either.Either<A, EngineError>

type Output = Operations[OperationName]["output"]

export const refuse = (reason: EngineError["reason"], detail: string): Either.Either<never, EngineError> =>
  Either.left(new EngineError({ reason, detail }))

/** An id in a message, not longer than a line. */
export const quote = (id: string): string => JSON.stringify(id.length > 100 ? `${id.slice(0, 100)}...` : id)

/** A run with its base model. */
export interface OpenRun {
  readonly run: Run
  readonly of: SamplerModel
}

/** An operation under way. */
export interface Task {
  /** Whether a slice would bring it further; if not, it waits for another worker. */
  readonly ready: () => boolean
  /** Does a slice; gives the result with the last one. */
  readonly slice: () => Result<Output> | undefined
}

/** The operations of one run, which exists from the operation that makes it to the one that releases it. */
export interface RunLane extends Lane {
  current: OpenRun | undefined
  readonly push: (task: Task, done: (outcome: Outcome) => void) => void
}

/** `onEmpty` is called when there is neither a run nor anything to do. */
export const makeRunLane = (onEmpty: (lane: RunLane) => void): RunLane => {
  const tasks: Array<{ readonly task: Task; readonly done: (outcome: Outcome) => void }> = []
  const lane: RunLane = {
    current: undefined,
    push: (task, done) => void tasks.push({ task, done }),
    ready: () => tasks[0]?.task.ready() ?? false,
    slice: () => {
      const first = tasks[0]
      const result = first?.task.slice()
      if (first === undefined || result === undefined) return
      tasks.shift()
      if (tasks.length === 0 && lane.current === undefined) onEmpty(lane)
      first.done(toOutcome(result))
    }
  }
  return lane
}

/** An operation that is one slice. */
export const once = (body: () => Result<Output>): Task => ({ ready: () => true, slice: body })

/** The other workers of an engine that shares batches. */
export interface Peers {
  readonly rank: number
  readonly size: number
  /** To all others. */
  readonly send: (message: PeerMessage) => void
}

/** What the other workers have sent for passes that this one has not finished. */
export interface Mailbox {
  readonly put: (rank: number, message: PeerMessage) => void
  /** The messages of an operation, by rank. */
  readonly of: (id: number) => ReadonlyMap<number, PeerMessage>
  readonly clear: (id: number) => void
}

export const makeMailbox = (): Mailbox => {
  const none = new Map<number, PeerMessage>()
  const messages = new Map<number, Map<number, PeerMessage>>()
  return {
    put: (rank, message) => {
      const present = messages.get(message.id) ?? new Map<number, PeerMessage>()
      messages.set(message.id, present.set(rank, message))
    },
    of: (id) => messages.get(id) ?? none,
    clear: (id) => void messages.delete(id)
  }
}

/** The part of the data that a worker evaluates: neighbours, so that all have as equal numbers of tokens as may be. */
export const partOf = (data: PassRequest["data"], rank: number, size: number) => {
  const total = data.reduce((sum, { tokens }) => sum + tokens.length, 0)
  let seen = 0
  let from = 0
  let to = 0
  for (const { tokens } of data) {
    // Where the middle of the datum lies among all tokens decides whose it is.
    const owner = Math.floor((seen + tokens.length / 2) * size / total)
    if (owner < rank) from++
    if (owner <= rank) to++
    seen += tokens.length
  }
  return { from, to }
}

/**
 * A pass. With peers each worker evaluates its part; the gradients of all are then added in the order of the ranks, the
 * same in every worker, or none are if one has failed.
 */
export const passTask = (
  id: number,
  request: PassRequest,
  withRun: <A>(body: (open: OpenRun) => Result<A>) => Result<A>,
  peers: Peers,
  mailbox: Mailbox
): Task => {
  const { rank, send, size } = peers
  const exchanges = size > 1 && request.backward
  let evaluation: Evaluation | undefined
  let mine: Result<PassResult> | undefined

  const join = (run: Run, result: PassResult): Result<PassResult> => {
    const parts: Array<Float32Array> = []
    for (let other = 0; other < size; other++) {
      const message = mailbox.of(id).get(other)
      if (message?.failure !== undefined) return refuse(message.failure.reason, message.failure.detail)
      parts.push(message?.gradients ?? run.gradients())
    }
    return Either.map(run.accumulate(parts), () => result)
  }

  const slice = ({ run }: OpenRun): Result<PassResult | undefined> => {
    if (evaluation === undefined) {
      return Either.map(run.begin(request, partOf(request.data, rank, size)), (begun) => {
        evaluation = begun
        return undefined
      })
    }
    if (mine === undefined) {
      const more = evaluation.step()
      if (Either.isRight(more) && more.right) return Either.right(undefined)
      mine = Either.isLeft(more) ? Either.left(more.left) : evaluation.finish()
      if (exchanges) {
        send(Either.match(mine, {
          onLeft: ({ detail, reason }): PeerMessage => ({ id, gradients: undefined, failure: { reason, detail } }),
          onRight: (): PeerMessage => ({ id, gradients: run.gradients(), failure: undefined })
        }))
        return Either.right(undefined)
      }
    }
    const joined = request.backward ? Either.flatMap(mine, (result) => join(run, result)) : mine
    mailbox.clear(id)
    return joined
  }

  return {
    ready: () => mine === undefined || !exchanges || mailbox.of(id).size === size - 1,
    slice: () => {
      const result = withRun(slice)
      return Either.isRight(result) && result.right === undefined ? undefined : result
    }
  }
}
