/**
 * Time that passes by itself: whenever nothing can go on, the clock jumps to the moment at which something can. Minutes of
 * back-off, polling and heartbeats take milliseconds, and happen in the same order every time.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as internal from "./internal/virtualClock.js"

/**
 * Settings of a run.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Of everything that is drawn with `Random`: the same seed gives the same run. Default 0. */
  readonly seed?: string | number | undefined
  /** A run that has not ended after so much of its time never will, and dies. Default 24 hours. */
  readonly limit?: Duration.DurationInput | undefined
  /** What the clock shows at the start, in milliseconds since 1970. Default 0. */
  readonly start?: number | undefined
}

/**
 * Runs an effect on a clock, a scheduler and a generator of random numbers of its own. The clock sees what goes on in
 * fibers and in promises that need nothing from outside; of sockets, files and threads it knows nothing, and does not wait
 * for them. So give the effect its layers inside: `VirtualClock.run(Effect.provide(program, TestServer.layer()))`.
 *
 * @since 0.1.0
 * @category testing
 */
export const run = <A, E, R>(effect: Effect.Effect<A, E, R>, options: Options = {}): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const limit = Duration.decode(options.limit ?? "24 hours")
    const world = internal.make(options.start ?? 0)
    return Effect.disconnect(effect).pipe(
      Effect.timeoutFailCause({
        duration: limit,
        onTimeout: () =>
          Cause.die(new Error(`not done after ${Duration.format(limit)} of virtual time: it waits for ever`))
      }),
      Effect.withRandom(Random.make(options.seed ?? 0)),
      Effect.withClock(world.clock),
      Effect.withScheduler(world.scheduler),
      Effect.ensuring(Effect.sync(world.stop))
    )
  })

/**
 * Milliseconds that have passed since the start of the run.
 *
 * @since 0.1.0
 * @category getters
 */
export const elapsed: (start?: number) => Effect.Effect<number> = (start = 0) =>
  Effect.map(Clock.currentTimeMillis, (now) => now - start)
