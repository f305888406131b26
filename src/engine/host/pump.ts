/**
 * Runs work in slices, each in a turn of its own of the event loop, so that messages and timers get in between.
 */

interface Turns {
  readonly next: (task: () => void) => void
  readonly close: () => void
}

const makeTurns = (): Turns => {
  if (typeof setImmediate === "function") return { next: (task) => void setImmediate(task), close: () => {} }
  // Browsers: a message to oneself is the only macrotask without the timers' minimum delay.
  const { port1, port2 } = new MessageChannel()
  const tasks: Array<() => void> = []
  port1.onmessage = () => tasks.shift()?.()
  return {
    next: (task) => {
      tasks.push(task)
      port2.postMessage(null)
    },
    close: () => port1.close()
  }
}

export interface Pump {
  /** To be called when there may be work: slices are then done turn after turn until one answers that there is no more. */
  readonly wake: () => void
  /** Does no further slice. */
  readonly stop: () => void
}

export const makePump = (slice: () => boolean): Pump => {
  const turns = makeTurns()
  let running = false
  let stopped = false
  const turn = () => {
    running = !stopped && slice()
    if (running) turns.next(turn)
  }
  return {
    wake: () => {
      if (running || stopped) return
      running = true
      turns.next(turn)
    },
    stop: () => {
      stopped = true
      turns.close()
    }
  }
}
