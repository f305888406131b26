/** What an organisation uses, stores and has done, and who asks. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { AuditLogResponse } from "../../protocol/Audit.js"
import { BillingUsageResponse, CheckpointStorageResponse } from "../../protocol/Billing.js"
import * as Routes from "../../protocol/Routes.js"
import * as Service from "../../protocol/Service.js"
import { MalformedResponse, requestIdOf } from "../../TinkexError.js"
import type { Client } from "../RestClient.js"
import { claimsOf } from "../transport/credentials.js"
import * as Json from "../transport/json.js"
import { below, fetchSigned, sendUnfollowed, textOf } from "../transport/signedUrls.js"
import type { Transport } from "../transport/types.js"
import type { Get } from "./requests.js"
import { refuse } from "./restChecks.js"

/** RFC 3339 in whole seconds with `Z`, as the official SDK writes it. */
const rfc3339 = (time: DateTime.Utc): string => DateTime.formatIso(time).replace(/\.000Z$/, "Z")

type Methods = Pick<
  Client,
  | "getServerCapabilities"
  | "whoami"
  | "getBillingUsage"
  | "getCheckpointStorage"
  | "getAuditLog"
>

export const make = (http: HttpClient.HttpClient, transport: Transport, get: Get): Methods => {
  return {
    getServerCapabilities: get({
      operation: "get_server_capabilities",
      path: below(Routes.paths.capabilities)
    }, Service.ServerCapabilities),
    whoami: Effect.gen(function*() {
      const operation = "whoami"
      const { jwt } = yield* transport.json({
        operation,
        method: "POST",
        pool: "service",
        path: below(Routes.paths.authToken),
        credential: transport.settings.apiKey ?? Redacted.make(""),
        body: Json.jsonBody({})
      }, Service.AuthTokenResponse)
      const { email, org_id: organization, sub: user } = claimsOf(jwt)
      if (typeof user !== "string" || typeof organization !== "string") {
        return yield* new MalformedResponse({ operation, detail: "the token does not say whose it is" })
      }
      return {
        userUrn: user,
        organizationUrn: `tml:organization:${organization}`,
        email: typeof email === "string" && email !== "" ? email : undefined
      }
    }),

    getBillingUsage: (startingOn, endingBefore) =>
      DateTime.lessThan(startingOn, endingBefore)
        ? get({
          operation: "billing usage",
          path: below(Routes.paths.billingUsage),
          query: { starting_on: rfc3339(startingOn), ending_before: rfc3339(endingBefore) }
        }, BillingUsageResponse)
        : refuse("endingBefore", "a time after startingOn", "an earlier one"),
    getCheckpointStorage: (options = {}) =>
      get({
        operation: "checkpoint storage",
        path: below(Routes.paths.checkpointStorage),
        query: { project_id: options.projectId }
      }, CheckpointStorageResponse),
    getAuditLog: Effect.fn("RestClient.getAuditLog")(function*(options = {}) {
      const operation = "audit log"
      if (options.day !== undefined && !/^\d{4}-\d{2}-\d{2}$/.test(options.day)) {
        return yield* refuse("day", "YYYY-MM-DD", "another form")
      }
      const answer = yield* sendUnfollowed(transport, {
        operation,
        method: "GET",
        pool: "service",
        path: below(Routes.paths.audit),
        query: { event_type: options.eventType ?? "all", day: options.day }
      })
      const { location } = answer.headers
      const text = answer.status >= 300 && location !== undefined
        ? yield* fetchSigned(
          http,
          transport.redact,
          operation,
          new URL(location, `${transport.settings.baseUrl}/`).href
        )
        : textOf(answer)
      const requestId = requestIdOf(answer.headers, transport.redact)
      const body = yield* Json.parse(text, operation, requestId)
      const { entries } = yield* Json.decode(body, AuditLogResponse, operation, requestId, transport.redact)
      return entries
    })
  }
}
