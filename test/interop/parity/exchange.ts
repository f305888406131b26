/** Exchanges as they are recorded, and two recordings of one program held against each other. */
import { Effect, Equal } from "effect"
import { ForwardBackwardCodec, type TensorData, Zstd } from "tinkex"
import * as SampleCodec from "../../../src/protocol/SampleCodec.js"

/** JSON as it is; anything else as base64. */
export type Payload = { readonly json: unknown } | { readonly base64: string } | null

export interface Exchange {
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Payload
  readonly status: number
  readonly type: string
  readonly answer: Payload
}

export interface Recording {
  readonly by: string
  readonly exchanges: ReadonlyArray<Exchange>
}

/** Headers of the way and not of the protocol, besides the key, which is the same for both. */
const ofTheWay = new Set(["host", "connection", "content-length", "accept-encoding", "transfer-encoding", "x-api-key"])

export const toPayload = (bytes: Uint8Array, type: string): Payload =>
  bytes.length === 0
    ? null
    : type.includes("application/json")
    ? { json: JSON.parse(new TextDecoder().decode(bytes)) }
    : { base64: Buffer.from(bytes).toString("base64") }

export const toBytes = (payload: Payload): Uint8Array =>
  payload === null
    ? new Uint8Array(0)
    : "json" in payload
    ? new TextEncoder().encode(JSON.stringify(payload.json))
    : Buffer.from(payload.base64, "base64")

export const keptHeaders = (headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>) =>
  Object.fromEntries(
    Object.entries(headers)
      .filter((entry): entry is [string, string] => typeof entry[1] === "string" && !ofTheWay.has(entry[0]))
      .sort(([a], [b]) => a < b ? -1 : 1)
  )

const ended = /^\/api\/v1\/(retrieve_future|session_heartbeat|telemetry|client\/dynamic_config)$/

/** Asked for by itself, in the background, when its time comes. */
const isBackground = ({ path }: Exchange): boolean => ended.test(path)

const tensor = (value: TensorData.TensorData) => ({
  dtype: value.dtype,
  shape: [...value.shape],
  data: Array.from<number | bigint, string>(value.data, String)
})

/** The official SDK's REST client reports for itself. */
const isSessionless = (body: Payload): boolean =>
  body !== null && "json" in body && JSON.stringify(body.json).includes("\"session_id\":\"sessionless-")

/** Protobuf in words. Its length is part of it: nothing that the codec does not know can hide. */
const decoded = (path: string, payload: Payload, headers: Readonly<Record<string, string>>): unknown => {
  if (payload === null) return null
  if ("json" in payload) return payload.json
  const sent = Buffer.from(payload.base64, "base64")
  const bytes = headers["content-encoding"] === "zstd" ? Effect.runSync(Zstd.decompress(sent)) : sent
  if (!path.endsWith("/forward_backward")) return { bytes: bytes.length }
  const { data, ...rest } = Effect.runSync(ForwardBackwardCodec.decodeRequest(bytes))
  return {
    ...rest,
    bytes: bytes.length,
    data: data.map(({ lossFnInputs, modelInput }) => ({
      modelInput: modelInput.chunks.map((chunk) =>
        chunk.type === "encoded_text" ? { ...chunk, tokens: Array.from(chunk.tokens) } : chunk
      ),
      lossFnInputs: Object.fromEntries(
        Object.entries(lossFnInputs).sort(([a], [b]) => a < b ? -1 : 1).map(([name, value]) => [name, tensor(value)])
      )
    }))
  }
}

/** Protobuf answers by their shape: what is sampled and how large a loss is are other tests' affair. */
const shape = (path: string, payload: Payload): unknown => {
  if (payload === null || "json" in payload) return payload?.json ?? null
  const bytes = Buffer.from(payload.base64, "base64")
  if (!path.endsWith("/retrieve_future")) return { bytes: bytes.length }
  const sampled = Effect.runSync(Effect.option(SampleCodec.decodeResponse(bytes)))
  if (sampled._tag === "Some" && sampled.value.sequences.length > 0) {
    const { promptLogprobs, sequences, topkPromptLogprobs } = sampled.value
    return {
      sequences: sequences.map(({ logprobs, tokens }) => logprobs === undefined || logprobs.length === tokens.length),
      promptLogprobs: promptLogprobs?.length,
      topkPromptLogprobs: topkPromptLogprobs === undefined ? undefined : true
    }
  }
  const passed = Effect.runSync(Effect.option(ForwardBackwardCodec.decodeOutput(bytes)))
  if (passed._tag === "None") return { bytes: bytes.length }
  const { lossFnOutputType, lossFnOutputs, metrics } = passed.value
  return {
    lossFnOutputType,
    lossFnOutputs: lossFnOutputs.map((outputs) =>
      Object.fromEntries(
        Object.entries(outputs).map(([name, { dtype, shape }]) => [name, { dtype, shape: [...shape] }])
      )
    ),
    metrics: Object.keys(metrics).sort()
  }
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** Names ids by the order in which they turn up, so that two recordings have the same. */
const naming = () => {
  const names = new Map<string, string>()
  return (text: string): string =>
    text.replace(uuid, (id) => {
      const known = names.get(id) ?? `<id ${names.size + 1}>`
      names.set(id, known)
      return known
    })
}

const time = /^\d{4}-\d{2}-\d{2}T[\d:.]+(Z|[+-]\d{2}:?\d{2})$/
/** Names of values that no two runs share. */
const drifting = new Set([
  "event_id",
  "process_uuid",
  "elapsed_time",
  "duration",
  "size_bytes",
  "unclipped_grad_l2:mean",
  "loss:sum",
  "response_payload_size",
  "queue_state_reason"
])

const normal = (value: unknown, name: (text: string) => string, key = ""): unknown => {
  if (drifting.has(key)) return `<${key}>`
  if (typeof value === "string") return time.test(value) ? "<time>" : name(value)
  if (Array.isArray(value)) return value.map((item) => normal(item, name))
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, item]) => [key, normal(item, name, key)])
  )
}

const headersOf = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      name === "x-idempotency-key" || name === "x-tinker-create-promise-roundtrip-time"
        ? `<${name}>`
        : name === "x-stainless-read-timeout"
        ? String(Number(value))
        : value
    ])
  )

/** Of a report the frame and its first event: what comes with it depends on when it is sent. */
const firstEvent = (body: unknown): unknown =>
  typeof body === "object" && body !== null && "events" in body && Array.isArray(body.events)
    ? { ...body, events: body.events.slice(0, 1) }
    : body

export interface Normal {
  readonly what: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

/**
 * The requests of a recording with names for ids and times, in an order that does not depend on who was faster: what the program
 * asks for as it was asked; then polls by what they ask for, first ones only; then of each thing in the background the first.
 */
export const requestsOf = ({ exchanges }: Recording): ReadonlyArray<Normal> => {
  const name = naming()
  const foreground = exchanges.filter((exchange) => !isBackground(exchange))
  const of = (exchange: Exchange): Normal => ({
    what: `${exchange.method} ${name(exchange.path)}`,
    headers: headersOf(exchange.headers),
    body: normal(decoded(exchange.path, exchange.body, exchange.headers), name)
  })
  // ids get their names from what the program asks for
  const asked = foreground.map(of)
  const polls = exchanges.filter(({ headers, path }) =>
    path.endsWith("/retrieve_future") && headers["x-tinker-request-iteration"] === "0"
  ).map(of).map((poll): Normal => ({
    ...poll,
    what: `${poll.what} ${String((poll.body as { readonly request_id?: unknown }).request_id)}`
  })).sort((a, b) => a.what < b.what ? -1 : 1)
  const others = ["/api/v1/client/dynamic_config", "/api/v1/session_heartbeat", "/api/v1/telemetry"].flatMap((path) =>
    exchanges.filter((exchange) => exchange.path === path && !isSessionless(exchange.body)).slice(0, 1).map(of)
  ).map((other): Normal => ({ ...other, body: firstEvent(other.body) }))
  return [...asked, ...polls, ...others]
}

/** Asked for too early: the answer says nothing but that. */
export const isEarly = ({ answer, path, status }: Exchange): boolean =>
  path.endsWith("/retrieve_future") &&
  (status === 408 ||
    answer !== null && "json" in answer && JSON.stringify(answer.json).includes("\"type\":\"try_again\""))

/** The answers, normalised alike. */
export const answersOf = ({ exchanges }: Recording): ReadonlyArray<Readonly<Record<string, unknown>>> => {
  const name = naming()
  return exchanges.map((exchange) => ({
    what: `${exchange.method} ${name(exchange.path)}`,
    status: exchange.status,
    type: exchange.type.split(";")[0],
    answer: normal(shape(exchange.path, exchange.answer), name)
  }))
}

export interface Difference {
  /** Of which request: method and path, ids named. */
  readonly what: string
  /** A header, or the place in the body; empty where a whole request is missing. */
  readonly where: string
  readonly official: unknown
  readonly tinkex: unknown
}

const compare = (
  what: string,
  where: string,
  official: unknown,
  tinkex: unknown,
  out: Array<Difference>
): void => {
  if (Equal.equals(official, tinkex)) return
  const plain = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value)
  if (plain(official) && plain(tinkex)) {
    for (const key of new Set([...Object.keys(official), ...Object.keys(tinkex)])) {
      compare(what, where === "" ? key : `${where}.${key}`, official[key], tinkex[key], out)
    }
    return
  }
  if (Array.isArray(official) && Array.isArray(tinkex) && official.length === tinkex.length) {
    official.forEach((item, i) => compare(what, `${where}[${i}]`, item, tinkex[i], out))
    return
  }
  if (JSON.stringify(official) !== JSON.stringify(tinkex)) out.push({ what, where, official, tinkex })
}

/** Everything in which two recordings of the program differ. Requests are matched by what they are and in which order. */
export const differences = (official: Recording, tinkex: Recording): ReadonlyArray<Difference> => {
  const out: Array<Difference> = []
  const ours = [...requestsOf(tinkex)]
  const order: Array<number> = []
  for (const theirs of requestsOf(official)) {
    const at = ours.findIndex((request, i) => request.what === theirs.what && !order.includes(i))
    const found = ours[at]
    if (found === undefined) {
      out.push({ what: theirs.what, where: "", official: "sent", tinkex: "not sent" })
      continue
    }
    order.push(at)
    compare(theirs.what, "headers", theirs.headers, found.headers, out)
    compare(theirs.what, "body", theirs.body, found.body, out)
  }
  ours.forEach((request, i) => {
    if (!order.includes(i)) out.push({ what: request.what, where: "", official: "not sent", tinkex: "sent" })
  })
  order.forEach((at, i) => {
    const before = order[i - 1]
    if (before !== undefined && at < before) {
      out.push({ what: ours[at]!.what, where: "order", official: `after ${ours[before]!.what}`, tinkex: "before it" })
    }
  })
  return out
}
