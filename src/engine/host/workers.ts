/**
 * Worker threads behind one engine. Every worker holds every run and every sampler; a batch is shared between all, a
 * sampling request goes to the worker with least to sample. What is sent is copied first, so arrays stay the caller's.
 */
import * as Either from "effect/Either"
import { MessageChannel, type MessagePort, type TransferListItem } from "node:worker_threads"
import type { PassResult } from "../Engine.js"
import { fairShare, makeSharedMemory, type SharedMemory } from "../kernels/sharedMemory.js"
import type { ModelDefinition } from "../model/Models.js"
import { storedBytes } from "../model/storedWeights.js"
import { type OnTokens, type Operation, type Outcome, pack, type Reply, type Request } from "./messages.js"
import type { Submit } from "./service.js"
import type { Settings } from "./settings.js"
import type { WorkerData } from "./worker.js"

/** What is needed of a `Worker` of node:worker_threads. */
export interface WorkerHandle {
  readonly postMessage: (message: unknown, transfer?: ReadonlyArray<TransferListItem>) => void
  readonly on: (event: string, listener: (value: unknown) => void) => unknown
  readonly terminate: () => Promise<unknown>
}

/** Starts a worker. */
export type Spawn = (data: WorkerData, transfer: Array<TransferListItem>) => WorkerHandle

export interface Workers {
  readonly submit: Submit
  /** Called once, when all workers have loaded or one has failed. */
  readonly onReady: (listener: (result: Either.Either<void, string>) => void) => void
  /** Ends the workers; what is pending fails. */
  readonly close: (detail: string) => Promise<void>
}

interface Pending {
  /** Outcomes by worker; a hole is awaited. */
  readonly outcomes: Array<Outcome | undefined>
  readonly awaited: ReadonlyArray<number>
  readonly operation: Operation
  readonly done: (outcome: Outcome) => void
  readonly onTokens: OnTokens | undefined
}

/** A port from each worker to each other one: `[from][to]`. */
const mesh = (size: number): ReadonlyArray<ReadonlyArray<MessagePort | undefined>> => {
  const ports = Array.from(
    { length: size },
    () => Array.from({ length: size }, (): MessagePort | undefined => undefined)
  )
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const { port1, port2 } = new MessageChannel()
      ports[a]![b] = port1
      ports[b]![a] = port2
    }
  }
  return ports
}

/** A memory in which several workers have the weights of models out of files once. */
const shareBase = (models: ReadonlyArray<ModelDefinition>, size: number): SharedMemory | undefined => {
  const blocks = models.flatMap(({ shape, weights }) => "stored" in weights ? [storedBytes(shape, weights.stored)] : [])
  return size === 1 || blocks.length === 0 ? undefined : makeSharedMemory(blocks, size)
}

/** Puts the parts of a pass together, in the order of the ranks. */
const joinPass = (parts: ReadonlyArray<PassResult>): PassResult => ({
  outputs: parts.flatMap(({ outputs }) => outputs),
  loss: parts.reduce((sum, { loss }) => sum + loss, 0)
})

/** What takes back an operation that only some workers could do. */
const undoOf = ({ input, name }: Operation): Operation | undefined => {
  if (name === "createRun" || name === "importRun") return { name: "releaseRun", input: { runId: input.runId } }
  if (name === "createSampler") return { name: "releaseSampler", input: { samplerId: input.samplerId } }
  return undefined
}

export const makeWorkers = (settings: Settings, size: number, spawn: Spawn): Workers => {
  const pending = new Map<number, Pending>()
  /** Samples that each worker has been asked for. */
  const load = Array.from({ length: size }, () => 0)
  let next = 0
  let ready = 0
  let failed: string | undefined
  let announce: ((result: Either.Either<void, string>) => void) | undefined

  const settle = (id: number, outcome: Outcome): void => {
    const entry = pending.get(id)
    if (entry === undefined) return
    forget(id, entry)
    entry.done(outcome)
  }

  const forget = (id: number, { awaited, operation }: Pending): void => {
    pending.delete(id)
    if (operation.name === "sample") load[awaited[0]!]! -= operation.input.request.numSamples
  }

  const fail = (detail: string): void => {
    if (failed !== undefined) return
    failed = detail
    announce?.(Either.left(detail))
    for (const id of pending.keys()) settle(id, { ok: false, reason: "Crashed", detail })
  }

  const send = (rank: number, id: number, operation: Operation): void => {
    const { buffer, value } = pack<Request>({ id, operation })
    workers[rank]!.postMessage(value, [buffer])
  }

  const receive = (rank: number, reply: Reply): void => {
    const { id } = reply
    const entry = pending.get(id)
    if (entry === undefined) return
    if ("tokens" in reply) return reply.tokens.forEach((tokens) => entry.onTokens?.(tokens))
    entry.outcomes[rank] = reply.outcome
    const outcomes = entry.awaited.map((rank) => entry.outcomes[rank])
    if (outcomes.includes(undefined)) return
    const refusal = outcomes.find((outcome) => outcome?.ok === false)
    if (refusal === undefined) {
      // All are present and fine; those of a pass are results of a pass.
      const values = outcomes.map((outcome) => (outcome as Extract<Outcome, { ok: true }>).value)
      return settle(id, {
        ok: true,
        value: entry.operation.name === "pass" ? joinPass(values as ReadonlyArray<PassResult>) : values[0]
      })
    }
    const undo = undoOf(entry.operation)
    if (undo !== undefined) {
      entry.awaited.forEach((rank) => {
        if (entry.outcomes[rank]?.ok === true) send(rank, next++, undo)
      })
    }
    settle(id, refusal)
  }

  const shared = shareBase(settings.models, size)
  const limits = shared === undefined
    ? settings.limits
    : { ...settings.limits, memory: Math.min(settings.limits.memory, fairShare(shared)) }
  const ports = mesh(size)
  const workers = ports.map((own, rank) => {
    const worker = spawn(
      { settings: { ...settings, limits }, rank, size, ports: own, shared },
      own.filter((port) => port !== undefined)
    )
    worker.on("message", (message) => {
      if (message !== "ready") return receive(rank, message as Reply)
      ready++
      if (ready === size) announce?.(Either.void)
    })
    const lost = (why: string) =>
      fail(`the engine's worker ${why}: its runs and samplers are lost; start the engine again`)
    worker.on("error", (error) => lost(`failed (${error instanceof Error ? error.message : String(error)})`))
    worker.on("messageerror", () => lost("sent what cannot be read"))
    worker.on("exit", (code) => lost(`stopped with code ${String(code)}`))
    return worker
  })
  const all = workers.map((_, rank) => rank)

  const close = async (detail: string): Promise<void> => {
    fail(detail)
    await Promise.all(workers.map((worker) => worker.terminate()))
  }

  return {
    submit: (operation, done, onTokens) => {
      if (failed !== undefined) {
        done({ ok: false, reason: "Crashed", detail: failed })
        return () => {}
      }
      const id = next++
      let awaited: ReadonlyArray<number> = all
      if (operation.name === "exportRun") awaited = [0]
      if (operation.name === "sample") {
        const rank = load.indexOf(Math.min(...load))
        load[rank]! += operation.input.request.numSamples
        awaited = [rank]
      }
      const entry: Pending = { outcomes: [], awaited, operation, done, onTokens }
      pending.set(id, entry)
      for (const rank of awaited) send(rank, id, operation)
      return () => {
        if (!pending.has(id)) return
        forget(id, entry)
        if (operation.name === "sample") workers[awaited[0]!]!.postMessage({ id, cancel: true } satisfies Request)
      }
    },
    onReady: (listener) => {
      announce = listener
      if (failed !== undefined) listener(Either.left(failed))
      else if (ready === size) listener(Either.void)
    },
    close
  }
}
