/**
 * What the commands about the service and the account do.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { RestClient } from "../../client/RestClient.js"
import { BillingUsageResponse, CheckpointStorageResponse } from "../../protocol/Billing.js"
import { ServerCapabilities } from "../../protocol/Service.js"
import { type Connection, rest, settings } from "../terminal/connect.js"
import { Failed } from "../terminal/failed.js"
import * as Show from "../terminal/show.js"
import { Terminal } from "../terminal/terminal.js"

interface Output extends Connection {
  readonly json: boolean
  readonly format: "table" | "json"
}

/** A count of parameters as people say it: 919 K, 135 M, 1.5 B. */
const short = (count: number): string => {
  if (count < 1e6) return `${Math.round(count / 1e3)} K`
  return count < 1e9 ? `${Math.round(count / 1e6)} M` : `${(count / 1e9).toFixed(1)} B`
}

export const models = (args: Output & { readonly substring: Option.Option<string> }) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    const { supportedModels } = yield* client.getServerCapabilities
    const wanted = Option.getOrElse(args.substring, () => "").toLowerCase()
    const found = supportedModels.filter(({ modelName }) => (modelName ?? "").toLowerCase().includes(wanted))
    if (found.length === 0 && wanted !== "") {
      return yield* new Failed({ message: `no model has ${JSON.stringify(wanted)} in its name; see tinkex model list` })
    }
    if (Show.wantsJson(args)) {
      const { supported_models } = yield* Schema.encode(ServerCapabilities)({ supportedModels: found })
      return yield* Show.json(Option.isSome(args.substring) ? { models: supported_models } : { supported_models })
    }
    yield* Show.table(
      ["Model", "Max Context", "Parameters", "Tokenizer", "Chat Template", "Trainable", "Sampleable"],
      found.map((model) => [
        model.modelName ?? Show.none,
        model.maxContextLength === undefined ? Show.none : String(model.maxContextLength),
        model.parameterCount === undefined ? Show.none : short(model.parameterCount),
        model.tokenizerId ?? Show.none,
        model.hasChatTemplate === undefined ? Show.none : Show.yesNo(model.hasChatTemplate),
        Show.yesNo(model.trainable),
        Show.yesNo(model.sampleable)
      ])
    )
  }).pipe(Effect.provide(rest(args)))

export const status = (args: Output) =>
  Effect.gen(function*() {
    const { apiKey, baseUrl } = yield* settings(args)
    const client = yield* RestClient
    yield* client.getServerCapabilities
    const key = apiKey !== undefined
    yield* Show.wantsJson(args)
      ? Show.json({ base_url: baseUrl, credentials: key, accessible: true })
      : Show.properties([["Service", baseUrl], ["Key", key ? "Yes" : "None needed"], ["Accessible", "Yes"]])
  }).pipe(Effect.provide(rest(args)))

export const whoami = (args: Output) =>
  Effect.gen(function*() {
    const { email, organizationUrn, userUrn } = yield* Effect.flatMap(RestClient, (client) => client.whoami)
    yield* Show.wantsJson(args)
      ? Show.json({ user_urn: userUrn, org_urn: organizationUrn, email: email ?? null })
      : Show.properties([["Email", email ?? Show.none], ["User", userUrn], ["Organization", organizationUrn]])
  }).pipe(Effect.provide(rest(args)))

export const usage = (args: Output & { readonly startingOn: Date; readonly endingBefore: Date }) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    const terminal = yield* Terminal
    const response = yield* client.getBillingUsage(
      DateTime.unsafeMake(args.startingOn),
      DateTime.unsafeMake(args.endingBefore)
    )
    if (Show.wantsJson(args)) return yield* Show.json(yield* Schema.encode(BillingUsageResponse)(response))
    if (response.data.length === 0) return yield* terminal.note("nothing was used")
    yield* Show.table(
      ["Hour", "Model", "Kind", "Tokens", "Session", "Cost (USD)"],
      response.data.map((event) => [
        DateTime.formatIso(event.bucketStart),
        event.baseModel ?? Show.none,
        event.eventInfo.type,
        "tokenCount" in event.eventInfo ? String(event.eventInfo.tokenCount) : Show.none,
        event.sessionId ?? Show.none,
        event.estimatedCostUsd === undefined ? Show.none : event.estimatedCostUsd.toFixed(4)
      ])
    )
  }).pipe(Effect.provide(rest(args)))

export const storage = (args: Output & { readonly projectId: Option.Option<string> }) =>
  Effect.gen(function*() {
    const client = yield* RestClient
    const response = yield* client.getCheckpointStorage({ projectId: Option.getOrUndefined(args.projectId) })
    if (Show.wantsJson(args)) return yield* Show.json(yield* Schema.encode(CheckpointStorageResponse)(response))
    yield* Show.table(
      ["Project", "Owner", "Checkpoints", "Size", "Monthly Cost (USD)"],
      response.data.map((row) => [
        row.projectId ?? Show.none,
        row.userName ?? row.userEmail ?? row.orgUserUrn ?? Show.none,
        String(row.checkpointCount),
        Show.size(row.sizeBytes),
        row.estimatedMonthlyCostUsd === undefined ? Show.none : row.estimatedMonthlyCostUsd.toFixed(2)
      ])
    )
  }).pipe(Effect.provide(rest(args)))
