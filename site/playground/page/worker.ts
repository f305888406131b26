/** The thread that computes: its first message is what it is started with, then the engine's own worker is loaded. */
interface Inside {
  tinkexWorkerData?: unknown
  onmessage: ((event: MessageEvent) => void) | null
  readonly importScripts: (url: string) => void
}
// the types of the page know no workers
const inside = globalThis as unknown as Inside
inside.onmessage = ({ data }) => {
  inside.onmessage = null
  inside.tinkexWorkerData = data
  inside.importScripts("engine.js")
}
