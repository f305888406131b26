/** How requests travel: prepared once; then admitted, sent and read as often as they are repeated. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Telemetry } from "../../observability/Telemetry.js"
import type { ClientConfig } from "../../protocol/Service.js"
import type { Settings } from "../../TinkexConfig.js"
import type { TransportError } from "../../TinkexError.js"
import * as Monotonic from "../monotonic.js"
import * as Admission from "./admission.js"
import * as Receive from "./answer.js"
import * as Attempt from "./attempt.js"
import * as Billing from "./billing.js"
import * as Contact from "./contact.js"
import * as Credentials from "./credentials.js"
import * as Deadlines from "./deadlines.js"
import { decodeAnswer } from "./json.js"
import * as Pools from "./pools.js"
import * as Prepare from "./prepare.js"
import * as Redact from "./redact.js"
import { unfollowed } from "./redirects.js"
import * as Retry from "./retry.js"
import * as Spans from "./spans.js"
import type { Answer, InternalTransport, Left, Parts, Request } from "./types.js"

export const make = (
  settings: Settings
): Effect.Effect<InternalTransport, never, HttpClient.HttpClient | Parts | Scope.Scope> =>
  Effect.gen(function*() {
    // the spans are the transport's own: those of HttpClient show every header
    const http = unfollowed(HttpClient.withTracerDisabledWhen(yield* HttpClient.HttpClient, () => true))
    const telemetry = yield* Telemetry
    const clock = yield* Effect.clock
    const tenant = settings.tenant.label
    const redact = Redact.make(settings)
    const prepare = Prepare.make(settings)
    const contact = Contact.make(clock, settings.timeouts.silence)
    const billing = Billing.make(clock, telemetry, tenant)
    const pools = yield* Pools.make(settings)
    const deadlines = yield* Deadlines.make
    const receive = Receive.make(clock, new URL(settings.baseUrl).origin, redact)

    const call = <A>(request: Request, read: (answer: Answer) => Effect.Effect<A, TransportError>, left?: Left<A>) =>
      Effect.suspend(() => {
        const call = prepare(request, Monotonic.millisOf(clock), read)
        return spanned(call, (trace) => repeat(call, attempt(call, trace, left)))
      })

    const credentials = Credentials.make(clock, settings.apiKey, redact, call)
    const { silentFor } = contact
    const admission = yield* Admission.make(settings, { clock, telemetry, credentials, pools, silentFor })
    const repeat = yield* Retry.make(settings, { clock, telemetry, billing, credentials, silentFor })
    const attempt = Attempt.make({
      http,
      clock,
      telemetry,
      tenant,
      deadlines,
      admission,
      credentials,
      contact,
      receive
    })
    const spanned = Spans.make(settings)

    return {
      settings,
      redact,
      limiter: admission.limiter,
      breaker: admission.breaker,
      gate: pools.gate,
      send: (request) => call(request, Effect.succeed),
      json: (request, schema, left) =>
        call(request, (answer) => decodeAnswer(answer, schema, request.operation, redact), left),
      pauseForBilling: billing.pause,
      silentFor,
      adopt: (config: ClientConfig) =>
        Effect.suspend(() => {
          billing.setLimit(Duration.seconds(config.billingMaxPauseSeconds))
          const sizes = Effect.zipRight(
            pools.gate("sampling").resize({ bytes: config.sampleDispatchBytes }),
            pools.gate("training").resize({ bytes: config.fwdbwdDispatchBytes })
          )
          return Effect.zipRight(Effect.orDie(sizes), config.pjwtAuthEnabled ? credentials.useTokens : Effect.void) // checked by the schema
        })
    }
  })
