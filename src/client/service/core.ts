/** What the clients of one service share. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { TelemetryService } from "../../observability/Telemetry.js"
import type { ClientConfig, ClientLimits, DynamicConfig } from "../../protocol/Service.js"
import type * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import type { Tokenizers } from "../../tokenizer/Tokenizers.js"
import type { Registry } from "../SamplingRegistry.js"
import type { Pending } from "../ServiceClient.js"
import type { Reporter } from "../TelemetryReporter.js"
import type { InternalTransport } from "../transport/types.js"
import type { Session } from "./session.js"

/** Numbers from 0 that the service wants without holes where that is possible. */
export interface Counter {
  readonly current: number
  readonly take: () => number
  /** Puts back a number that was certainly never seen, if no later one has been taken. */
  readonly giveBack: (n: number) => void
}

export const makeCounter = (start = 0): Counter => {
  let next = start
  return {
    get current() {
      return next
    },
    take: () => next++,
    giveBack: (n) => {
      if (n === next - 1) next = n
    }
  }
}

export interface Core {
  readonly transport: InternalTransport
  readonly telemetry: TelemetryService
  readonly session: Session
  readonly reporter: Reporter
  readonly config: ClientConfig
  readonly limits: ClientLimits
  readonly dynamic: { current: DynamicConfig }
  readonly registry: Registry
  readonly tokenizers: Effect.Effect.Success<typeof Tokenizers>
  /** Bytes of large results that are being fetched (docs/protocol/futures.md#large-results). */
  readonly responses: ConcurrencyGate.ConcurrencyGate
  readonly outstanding: Set<Outstanding>
  readonly models: Counter
  readonly samplers: Counter
  /** As long as the service client. */
  readonly scope: Scope.Scope
}

/** A request whose result is awaited, as it is kept while that lasts. */
export interface Outstanding {
  readonly describe: (now: number) => Pending
}
