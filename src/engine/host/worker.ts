/**
 * The thread that computes: runs the engine's core, takes operations as messages and answers each with its outcome.
 *
 * @since 0.1.0
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads"
import type { SampledTokens } from "../Engine.js"
import type { SharedMemory } from "../kernels/sharedMemory.js"
import { makeCore } from "./core.js"
import { buffersOf, pack, type PeerMessage, type Reply, type Request } from "./messages.js"
import { makePump } from "./pump.js"
import type { Settings } from "./settings.js"

/** What a worker is started with: `ports` leads to the other workers, by rank, and has a hole at its own. */
export interface WorkerData {
  readonly settings: Settings
  readonly rank: number
  readonly size: number
  readonly ports: ReadonlyArray<MessagePort | undefined>
  /** The memory of all workers; undefined: each has its own. */
  readonly shared: SharedMemory | undefined
}

const start = (main: MessagePort, { ports, rank, settings, shared, size }: WorkerData): void => {
  const core = makeCore({
    ...settings,
    shared,
    now: () => performance.now(),
    peers: {
      rank,
      size,
      send: (message) => {
        for (const port of ports) port?.postMessage(message)
      }
    }
  })
  const pump = makePump(core.slice)
  const cancels = new Map<number, () => void>()
  const send = (reply: Reply): void => {
    const { buffer, value } = pack(reply)
    main.postMessage(value, [buffer])
  }
  // What a slice draws for a request travels together.
  const drawn = new Map<number, Array<SampledTokens>>()
  const flush = (id: number): void => {
    const tokens = drawn.get(id)
    if (tokens === undefined) return
    drawn.delete(id)
    send({ id, tokens })
  }
  const hear = (id: number, tokens: SampledTokens): void => {
    const present = drawn.get(id)
    if (present !== undefined) return void present.push(tokens)
    drawn.set(id, [tokens])
    queueMicrotask(() => flush(id))
  }
  main.on("message", (request: Request) => {
    const { id } = request
    if ("cancel" in request) {
      cancels.get(id)?.()
      cancels.delete(id)
      return
    }
    let answered = false
    const cancel = core.submit(id, request.operation, (outcome) => {
      answered = true
      cancels.delete(id)
      flush(id)
      // A state is copied out of the kernels' memory already, and may be large.
      if (request.operation.name === "exportRun") {
        const reply: Reply = { id, outcome }
        main.postMessage(reply, buffersOf(reply))
      } else send({ id, outcome })
    }, (tokens) => hear(id, tokens))
    if (!answered) cancels.set(id, cancel)
    pump.wake()
  })
  ports.forEach((port, other) =>
    port?.on("message", (message: PeerMessage) => {
      core.receive(other, message)
      pump.wake()
    })
  )
  main.postMessage("ready")
}

// A worker's data is what its maker passed: see internal/workers.ts.
if (parentPort !== null) start(parentPort, workerData as WorkerData)
