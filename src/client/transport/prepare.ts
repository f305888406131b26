/** From a request to a call: all that its attempts have in common. */
import * as HttpBody from "@effect/platform/HttpBody"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { Settings } from "../../TinkexConfig.js"
import type { TransportError } from "../../TinkexError.js"
import { type Call, guardedPools, operationClasses } from "./calls.js"
import { commonHeaders } from "./headers.js"
import type { Answer, Request } from "./types.js"
import { randomHex } from "./uuid.js"

const queryOf = (query: Request["query"]): string => {
  if (query === undefined) return ""
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") params.append(name, String(value))
  }
  const text = params.toString()
  return text === "" ? "" : `?${text}`
}

export interface Prepare {
  <A>(request: Request, now: number, read: (answer: Answer) => Effect.Effect<A, TransportError>): Call<A>
}

export const make = (settings: Settings): Prepare => {
  const common = commonHeaders(settings)
  const root = `${settings.baseUrl}/api/v1/`
  /** A different one in every process and for every transport; the calls of one are numbered. */
  const prefix = `tinkex-retry-${randomHex(12)}`
  const patience = Duration.toMillis(settings.timeouts.call)
  let calls = 0
  return (request, now, read) => {
    const timeout = request.timeout ?? settings.timeouts.request
    const { body, pool } = request
    const headers: Record<string, string> = {
      ...common,
      "x-stainless-read-timeout": String(Duration.toSeconds(timeout)),
      ...request.headers
    }
    if (request.method !== "GET") {
      headers["content-type"] = body?.contentType ?? "application/json"
      headers["x-idempotency-key"] ??= `${prefix}-${calls++}`
      if (body?.contentEncoding !== undefined) headers["content-encoding"] = body.contentEncoding
    }
    const bytes = body?.bytes.length ?? 0
    return {
      request,
      kind: operationClasses[pool],
      route: `/api/v1/${request.route ?? request.path}`,
      url: `${root}${request.path}${queryOf(request.query)}`,
      headers,
      body: body === undefined ? HttpBody.empty : HttpBody.uint8Array(body.bytes, body.contentType),
      weight: request.weight ?? bytes,
      bytes,
      timeoutMillis: Duration.toMillis(timeout),
      guarded: guardedPools[pool] && request.unguarded !== true,
      times: request.times ?? settings.retry.times,
      delivery: request.delivery ?? { maybe: false },
      read,
      attempts: 0,
      credential: undefined,
      resent: 0,
      renewed: false,
      deadline: now + patience
    }
  }
}
