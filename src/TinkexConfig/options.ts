/** The names of settings, and what happens to others. */
import * as Effect from "effect/Effect"
import { attempt } from "../protocol/InvalidInput.js"
import { type Known, known } from "../protocol/options.js"
import type { Options } from "../TinkexConfig.js"
import { ConfigurationError } from "../TinkexError.js"

export const config = known<Options>("a client", {
  apiKey: true,
  baseUrl: true,
  chunks: true,
  cloudflareAccess: true,
  displayName: true,
  headers: true,
  pools: true,
  projectId: true,
  propagation: true,
  retry: true,
  sampling: true,
  samplingRetry: true,
  tags: true,
  telemetry: true,
  timeouts: true,
  tracing: true,
  userMetadata: true
})

export const cloudflareAccess = known<NonNullable<Options["cloudflareAccess"]>>("cloudflareAccess", {
  clientId: true,
  clientSecret: true
})

export const retry = known<NonNullable<Options["retry"]>>("retry", { base: true, cap: true, times: true })

export const samplingRetry = known<Exclude<Options["samplingRetry"], string | undefined>>("samplingRetry", {
  policy: true,
  progressTimeout: true
})

/** Fails for a name that is none of these options'. */
export const configured = <A extends object>(
  check: Known<A>,
  given: A | undefined,
  field?: string
): Effect.Effect<void, ConfigurationError> =>
  Effect.mapError(
    attempt(() => check(given, field)),
    ({ actual, expected, field: setting }) =>
      new ConfigurationError({
        setting: setting === "" ? "options" : setting,
        detail: `expected ${expected}, got ${actual}`
      })
  )

/** Fails for a name that belongs to neither kind of options. */
export const configuredAll = (
  what: string,
  kinds: ReadonlyArray<{ readonly names: Readonly<Record<string, true>> }>,
  given: object | undefined
): Effect.Effect<void, ConfigurationError> =>
  configured<Record<string, unknown>>(
    known<Record<string, unknown>>(what, Object.assign({}, ...kinds.map(({ names }) => names))),
    given as Record<string, unknown> | undefined // of which only the names are read
  )
