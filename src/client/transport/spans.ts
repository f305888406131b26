/** The span of a call, for tracers that do something with it, and the headers that carry it on. */
import * as HttpTraceContext from "@effect/platform/HttpTraceContext"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Settings } from "../../TinkexConfig.js"
import type { Call } from "./calls.js"

type Trace = Readonly<Record<string, string>> | undefined

export interface Spanned {
  <A, B, E>(call: Call<A>, run: (trace: Trace) => Effect.Effect<B, E>): Effect.Effect<B, E>
}

/** Effect's own tracer: it keeps spans in memory, and shows them to nobody. */
export const silent = Effect.runSync(Effect.tracer)

const withHeaders = <B, E>(run: (trace: Trace) => Effect.Effect<B, E>): Effect.Effect<B, E> =>
  Effect.flatMap(
    Effect.option(Effect.currentSpan),
    (span) => run(Option.isSome(span) ? HttpTraceContext.toHeaders(span.value) : undefined)
  )

export const make = ({ propagation, tenant, tracing }: Settings): Spanned => (call, run) => {
  const inner = propagation ? withHeaders(run) : run(undefined)
  if (!tracing) return inner
  return Effect.tracerWith((tracer) =>
    tracer === silent && !propagation
      ? inner
      : Effect.withSpan(inner, `tinkex ${call.request.method} ${call.route}`, {
        kind: "client",
        captureStackTrace: false,
        attributes: { "tinkex.operation": call.request.pool, "tinkex.tenant": tenant.label }
      })
  )
}
