/** The gates of a tenant. Its clients share them: the widest wish counts, and whoever wished for less is told. */
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import type * as Scope from "effect/Scope"
import type { Operation } from "../../observability/TelemetryEvent.js"
import * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import type { Settings } from "../../TinkexConfig.js"
import { pools } from "./calls.js"
import { keyOf } from "./events.js"

export interface Pools {
  readonly gate: (pool: Operation) => ConcurrencyGate.ConcurrencyGate
  /** What samples pass besides, while a back-off is recent. */
  readonly throttle: ConcurrencyGate.ConcurrencyGate
}

/** What the open clients of a gate wish for. */
const wishes = globalValue(
  "tinkex/client/pools",
  () => new WeakMap<ConcurrencyGate.ConcurrencyGate, Set<{ readonly permits: number }>>()
)

const claim = (
  gate: ConcurrencyGate.ConcurrencyGate,
  permits: number,
  name: string
): Effect.Effect<void, never, Scope.Scope> => {
  const resize = (others: ReadonlySet<{ readonly permits: number }>) => {
    const widest = Math.max(...Array.from(others, (other) => other.permits))
    return Effect.as(Effect.orDie(gate.resize({ permits: widest })), widest) // the settings were checked
  }
  return Effect.acquireRelease(
    Effect.suspend(() => {
      const mine = { permits }
      const all = wishes.get(gate) ?? new Set()
      wishes.set(gate, all.add(mine))
      return Effect.flatMap(resize(all), (widest) =>
        Effect.as(
          widest > permits
            ? Effect.logWarning(
              `the pool "${name}" is shared by all clients of this key and keeps its ${widest} places; this client wished for ${permits}`
            )
            : Effect.void,
          mine
        ))
    }),
    (mine) =>
      Effect.suspend(() => {
        const rest = wishes.get(gate)
        rest?.delete(mine)
        return rest === undefined || rest.size === 0 ? Effect.void : resize(rest)
      })
  )
}

export const make = (
  settings: Settings
): Effect.Effect<Pools, never, ConcurrencyGate.ConcurrencyGates | Scope.Scope> =>
  Effect.gen(function*() {
    const { id } = settings.tenant
    const gates = new Map<Operation, ConcurrencyGate.ConcurrencyGate>()
    for (const pool of pools) {
      const gate = yield* ConcurrencyGate.forKey(keyOf(id, pool))
      yield* claim(gate, settings.pools[pool], pool)
      gates.set(pool, gate)
    }
    const throttle = yield* ConcurrencyGate.forKey(`${id}/sampling/throttled`)
    yield* claim(throttle, settings.sampling.throttled, "sampling, throttled")
    return { gate: (pool) => gates.get(pool)!, throttle } // made above for every pool
  })
