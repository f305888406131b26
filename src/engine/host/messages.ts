/**
 * What travels between the service and the thread that computes: operations, their results, and copies of them whose
 * arrays can be handed over.
 */
import * as Either from "effect/Either"
import type {
  AdamParams,
  EngineError,
  LoraConfig,
  PassRequest,
  PassResult,
  RunState,
  SampledTokens,
  SampleResult
} from "../Engine.js"
import type { SeededRequest } from "../sampler/sampleRequest.js"

/** Where a sampler's weights come from. */
export type SamplerSource = { readonly runId: string } | { readonly state: RunState } | { readonly baseModel: string }

/** The operations: input and output by name. */
export interface Operations {
  readonly createRun: {
    readonly input: { readonly runId: string; readonly baseModel: string; readonly lora: LoraConfig | null }
    readonly output: void
  }
  readonly importRun: {
    readonly input: { readonly runId: string; readonly state: RunState; readonly optimizer: boolean }
    readonly output: void
  }
  readonly loadRun: Operations["importRun"]
  readonly exportRun: {
    readonly input: { readonly runId: string; readonly optimizer: boolean }
    readonly output: RunState
  }
  readonly releaseRun: { readonly input: { readonly runId: string }; readonly output: void }
  readonly pass: {
    readonly input: { readonly runId: string; readonly request: PassRequest }
    /** With several workers: the part of this worker, a run of neighbouring data. */
    readonly output: PassResult
  }
  readonly optimStep: {
    readonly input: { readonly runId: string; readonly params: AdamParams }
    readonly output: { readonly gradNorm: number }
  }
  readonly createSampler: {
    readonly input: { readonly samplerId: string; readonly source: SamplerSource }
    readonly output: void
  }
  readonly releaseSampler: { readonly input: { readonly samplerId: string }; readonly output: void }
  readonly sample: {
    /** `streams`: tokens are sent as they are drawn. */
    readonly input: { readonly samplerId: string; readonly request: SeededRequest; readonly streams: boolean }
    readonly output: SampleResult
  }
}

export type OperationName = keyof Operations

/** An operation as a value: its name and its input. */
export type Operation = { readonly [K in OperationName]: { readonly name: K; readonly input: Operations[K]["input"] } }[
  OperationName
]

/** How an operation ended. */
export type Outcome =
  | { readonly ok: true; readonly value: Operations[OperationName]["output"] }
  | { readonly ok: false; readonly reason: EngineError["reason"]; readonly detail: string }

/** A result as it travels. */
export const toOutcome = (result: Either.Either<Operations[OperationName]["output"], EngineError>): Outcome =>
  Either.match(result, {
    onLeft: ({ detail, reason }): Outcome => ({ ok: false, reason, detail }),
    onRight: (value): Outcome => ({ ok: true, value })
  })

/** What a worker tells the others of its part of a pass: its gradients, or why it has none. */
export interface PeerMessage {
  /** Of the operation, the same in all workers. */
  readonly id: number
  readonly gradients: Float32Array | undefined
  readonly failure: { readonly reason: EngineError["reason"]; readonly detail: string } | undefined
}

/** To a worker. */
export type Request =
  | { readonly id: number; readonly operation: Operation }
  | { readonly id: number; readonly cancel: true }

/** From a worker: how an operation ended, or tokens of a sample on the way. */
export type Reply =
  | { readonly id: number; readonly outcome: Outcome }
  | { readonly id: number; readonly tokens: ReadonlyArray<SampledTokens> }

/** Hears of tokens as they are drawn. */
export type OnTokens = (tokens: SampledTokens) => void

type Numbers = Float32Array | Int32Array

const isNumbers = (value: unknown): value is Numbers => value instanceof Float32Array || value instanceof Int32Array

/** The buffers of all typed arrays in plain data, each once: for data that is its receiver's alone. */
export const buffersOf = (value: unknown): Array<ArrayBuffer> => {
  const buffers = new Set<ArrayBuffer>()
  const visit = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return
    if (isNumbers(node)) {
      if (node.buffer instanceof ArrayBuffer) buffers.add(node.buffer)
    } else for (const child of Object.values(node)) visit(child)
  }
  visit(value)
  return [...buffers]
}

/**
 * A deep copy of plain data whose typed arrays are views of one fresh buffer: transferred, it crosses to another thread
 * without a second copy, and the caller's arrays stay the caller's.
 */
export const pack = <A>(value: A): { readonly value: A; readonly buffer: ArrayBuffer } => {
  let bytes = 0
  const measure = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return
    if (isNumbers(node)) bytes += node.byteLength
    else for (const child of Object.values(node)) measure(child)
  }
  measure(value)
  const buffer = new ArrayBuffer(bytes)
  let at = 0
  const copy = (node: unknown): unknown => {
    if (typeof node !== "object" || node === null) return node
    if (isNumbers(node)) {
      const fresh: Numbers = node instanceof Float32Array
        ? new Float32Array(buffer, at, node.length)
        : new Int32Array(buffer, at, node.length)
      fresh.set(node)
      at += node.byteLength
      return fresh
    }
    if (Array.isArray(node)) return node.map(copy)
    return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, copy(child)]))
  }
  // The copy has the shape of what was copied.
  return { value: copy(value) as A, buffer }
}
