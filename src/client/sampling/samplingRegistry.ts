/** Entries by id, and the stack of ids that a fiber has opened. */
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { Change, Entry, Registry } from "../SamplingRegistry.js"

/** What this fiber opened and the fiber that forked it, oldest first. Ids only: whether they are open, the registry knows. */
const opened = globalValue(
  Symbol.for("tinkex/SamplingRegistry/opened"),
  () => FiberRef.unsafeMake<ReadonlyArray<string>>([])
)

/** The ids that are open, of all registries: what is left of a fiber's stack is cleared out by these. */
const open = globalValue(Symbol.for("tinkex/SamplingRegistry/open"), () => ({ ids: new Set<string>(), count: 0 }))

const change = (_tag: Change["_tag"], entry: Entry): Change => ({ _tag, entry })

export const make: Effect.Effect<Registry> = Effect.gen(function*() {
  const entries = new Map<string, Entry>()
  const hub = yield* PubSub.sliding<Change>(1024)

  const close = (entry: Entry) =>
    Effect.suspend(() => {
      entries.delete(entry.id)
      open.ids.delete(entry.id)
      return FiberRef.update(opened, (ids) => ids.filter((id) => open.ids.has(id))).pipe(
        Effect.zipRight(PubSub.publish(hub, change("Closed", entry)))
      )
    })

  const register: Registry["register"] = (makeEntry) =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        const entry = makeEntry(`sampler-${open.count++}`)
        entries.set(entry.id, entry)
        open.ids.add(entry.id)
        return FiberRef.update(opened, (ids) => [...ids.filter((id) => open.ids.has(id)), entry.id]).pipe(
          Effect.zipRight(PubSub.publish(hub, change("Opened", entry))),
          Effect.as(entry)
        )
      }),
      close
    )

  return {
    register,
    get: (id) => entries.get(id),
    current: Effect.map(FiberRef.get(opened), (ids) => {
      for (let i = ids.length - 1; i >= 0; i--) {
        const entry = entries.get(ids[i]!)
        if (entry !== undefined) return Option.some(entry)
      }
      return Option.none()
    }),
    entries: Effect.sync(() => Array.from(entries.values())),
    changes: Stream.fromPubSub(hub, { scoped: true })
  }
})
