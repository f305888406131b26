/**
 * The thread that computes: runs the engine's core, takes operations as messages and answers each with its outcome.
 *
 * @since 0.1.0
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads"
import { makeCore } from "./core.js"
import { pack, type PeerMessage, type Reply, type Request } from "./messages.js"
import { makePump } from "./pump.js"
import type { Settings } from "./settings.js"

/** What a worker is started with: `ports` leads to the other workers, by rank, and has a hole at its own. */
export interface WorkerData {
  readonly settings: Settings
  readonly rank: number
  readonly size: number
  readonly ports: ReadonlyArray<MessagePort | undefined>
}

const start = (main: MessagePort, { ports, rank, settings, size }: WorkerData): void => {
  const core = makeCore({
    ...settings,
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
      const { buffer, value } = pack<Reply>({ id, outcome })
      main.postMessage(value, [buffer])
    })
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
