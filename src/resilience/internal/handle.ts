/** What the parts of this room share: a cell with a change stream, a registry of keyed handles, monotonic time. */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** Monotonic milliseconds: `currentTimeNanos` never goes back, `currentTimeMillis` is the wall clock. */
export const nowMillis = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1e6

/** The longest sleep that the timers of JavaScript keep; a longer one would never end. */
export const maxSleepMillis = 2 ** 31 - 1

/** How many changes a slow observer may lag behind before it loses the oldest. */
const observerLag = 1024

export const makeHub = <C>(): Effect.Effect<PubSub.PubSub<C>> => PubSub.sliding<C>(observerLag)

/** The subscription exists when this effect returns: nothing published after that is missed. */
export const subscribe = <C>(hub: PubSub.PubSub<C>): Effect.Effect<Stream.Stream<C>, never, Scope.Scope> =>
  Stream.fromPubSub(hub, { scoped: true })

export const subscribeKey = <C extends { readonly key: string }>(
  hub: PubSub.PubSub<C>,
  key: string
): Effect.Effect<Stream.Stream<C>, never, Scope.Scope> =>
  Effect.map(subscribe(hub), Stream.filter((change) => change.key === key))

/** Changes in the order in which they happened. */
export interface Outbox<C> {
  /** Tells the observers at once. Only one that is far behind is told with the next `flush`, which takes the oldest from it. */
  readonly note: (change: C) => void
  readonly flush: Effect.Effect<void>
}

export const makeOutbox = <C>(hub: PubSub.PubSub<C>): Outbox<C> => {
  const held: Array<C> = []
  return {
    note: (change) => {
      if (held.length === 0 && hub.unsafeOffer(change)) return
      held.push(change)
      if (held.length > observerLag) held.shift()
    },
    flush: Effect.suspend(() => held.length === 0 ? Effect.void : PubSub.publishAll(hub, held.splice(0)))
  }
}

/** The result of a transition: what the caller learns, the next state and what observers are told. */
export type Step<A, S, C> = readonly [value: A, next: S, change?: C | undefined]

/** A state that is only moved by pure transitions, each of them in one synchronous step. */
export interface Cell<S, C> {
  readonly get: () => S
  readonly step: <A>(f: (state: S) => Step<A, S, C>) => A
  readonly flush: Effect.Effect<void>
}

export const makeCell = <S, C>(initial: S, hub: PubSub.PubSub<C>): Cell<S, C> => {
  let state = initial
  const { flush, note } = makeOutbox(hub)
  return {
    get: () => state,
    step: (f) => {
      const [value, next, change] = f(state)
      state = next
      if (change !== undefined) note(change)
      return value
    },
    flush
  }
}

/** Handles by key: the first caller makes one, everybody gets that one. One step, so that no two fibers can both make. */
export const makeRegistry = <H>(make: (key: string) => H) => {
  const handles = new Map<string, H>()
  return {
    forKey: (key: string): Effect.Effect<H> =>
      Effect.sync(() => {
        const present = handles.get(key)
        if (present !== undefined) return present
        const made = make(key)
        handles.set(key, made)
        return made
      }),
    all: Effect.sync((): ReadonlyArray<H> => Array.from(handles.values()))
  }
}

const proto = {
  ...Inspectable.BaseProto,
  pipe(this: Pipeable) {
    return pipeArguments(this, arguments)
  }
}

/** A handle: its own fields, its TypeId, `pipe`, and an inspection that shows `toJSON()` and nothing else. */
export const makeHandle = <H extends Pipeable & Inspectable.Inspectable>(
  id: string,
  fields: Omit<H, symbol | keyof Pipeable | keyof Inspectable.Inspectable> & { readonly toJSON: () => unknown }
): H => Object.assign(Object.create(proto), { [Symbol.for(id)]: Symbol.for(id) }, fields)
