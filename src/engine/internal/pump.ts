/**
 * Runs work in slices, each in a turn of its own of the event loop, so that messages and timers get in between.
 */

const makeNextTurn = (): (task: () => void) => void => {
  if (typeof setImmediate === "function") return (task) => void setImmediate(task)
  // Browsers: a message to oneself is the only macrotask without the timers' minimum delay.
  const channel = new MessageChannel()
  const tasks: Array<() => void> = []
  channel.port1.onmessage = () => tasks.shift()?.()
  return (task) => {
    tasks.push(task)
    channel.port2.postMessage(null)
  }
}

/** Call `wake` when there may be work; `slice` is then called turn after turn until it answers false or after `stop`. */
export const makePump = (slice: () => boolean): { readonly wake: () => void; readonly stop: () => void } => {
  const nextTurn = makeNextTurn()
  let running = false
  let stopped = false
  const turn = () => {
    running = !stopped && slice()
    if (running) nextTurn(turn)
  }
  return {
    wake: () => {
      if (running || stopped) return
      running = true
      nextTurn(turn)
    },
    stop: () => {
      stopped = true
    }
  }
}
