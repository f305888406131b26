/**
 * Which recorded answer a request gets: that of the request which is the same but for what differs from run to run.
 */
import * as Predicate from "effect/Predicate"
import type { Body, Exchange, ExchangeRequest } from "./cassette.js"

/** Fields that change with a release or with every run, and mean nothing to the answer. */
const passing = new Set(["sdk_version"])

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (!Predicate.isRecord(value)) return value
  return Object.fromEntries(
    Object.keys(value).filter((key) => !passing.has(key)).sort().map((key) => [key, sorted(value[key])])
  )
}

const bodyKey = (body: Body): string => {
  if ("json" in body) return JSON.stringify(sorted(body.json))
  if ("text" in body) return body.text
  return "base64" in body ? body.base64 : ""
}

const lastPart = (path: string): string => (path.split("?")[0] ?? path).split("/").pop() ?? path

/** Requests that a program sends when time passes, or about itself: how many there are, and when, says nothing. */
const isBackground = ({ path }: ExchangeRequest): boolean => {
  const part = lastPart(path)
  return part === "telemetry" || part === "session_heartbeat"
}

/** A poll that was answered with "not yet": on replay nobody waits. */
const isPending = ({ answer, request }: Exchange): boolean =>
  lastPart(request.path) === "retrieve_future" && "status" in answer &&
  (answer.status === 408 ||
    ("json" in answer.body && Predicate.isRecord(answer.body.json) && answer.body.json["type"] === "try_again"))

const place = ({ method, path }: ExchangeRequest): string => `${method} ${path}`

/** What a poll says of itself beside the id that it asks for depends on how often it has asked. */
const keyOf = (request: ExchangeRequest): string => {
  if (isBackground(request)) return place(request)
  const { body } = request
  if (lastPart(request.path) === "retrieve_future" && "json" in body && Predicate.isRecord(body.json)) {
    return `${place(request)} ${JSON.stringify(body.json["request_id"])}`
  }
  return `${place(request)} ${bodyKey(body)}`
}

/** What is found for a request: an exchange, or why there is none. */
export type Match =
  | { readonly _tag: "Found"; readonly exchange: Exchange }
  | { readonly _tag: "Missing"; readonly detail: string }

interface Entry {
  readonly exchange: Exchange
  readonly pending: boolean
  used: boolean
}

const words = (request: ExchangeRequest): string => `${request.method} ${(request.path.split("?")[0] ?? "")}`

/**
 * The exchanges of a cassette, to be taken one by one. Strict: each answer once, for the very request. Lenient: where the
 * body is another, the next unused answer to the same method and path, and the last one again where none is left.
 */
export const make = (exchanges: ReadonlyArray<Exchange>, lenient: boolean) => {
  const entries: ReadonlyArray<Entry> = exchanges.map((exchange) => ({
    exchange,
    pending: isPending(exchange),
    used: false
  }))
  const index = (of: (request: ExchangeRequest) => string): Map<string, Array<Entry>> => {
    const found = new Map<string, Array<Entry>>()
    for (const entry of entries) {
      const key = of(entry.exchange.request)
      const list = found.get(key)
      if (list === undefined) found.set(key, [entry])
      else list.push(entry)
    }
    return found
  }
  const byKey = index(keyOf)
  const byPlace = index(place)

  const take = (request: ExchangeRequest): Match => {
    const key = keyOf(request)
    const same = byKey.get(key) ?? []
    // of a future that was settled, the answer that settled it
    const settled = same.some(({ pending }) => !pending)
    const next = same.find(({ pending, used }) => !used && !(settled && pending))
    if (next !== undefined) return use(next)
    const last = same.at(-1)
    if (last !== undefined && (lenient || isBackground(request))) return use(last)
    const there = byPlace.get(place(request)) ?? []
    if (lenient) {
      const other = there.find(({ pending, used }) => !used && !pending) ?? there.at(-1)
      if (other !== undefined) return use(other)
    }
    return {
      _tag: "Missing",
      detail: same.length > 0
        ? `the cassette has ${same.length} answer${same.length === 1 ? "" : "s"} to this ${
          words(request)
        }, and all have been given`
        : there.length > 0
        ? `the cassette has ${there.length} answer${there.length === 1 ? "" : "s"} to ${
          words(request)
        }, none to one with this body`
        : `the cassette has no answer to ${words(request)}`
    }
  }

  const use = (entry: Entry): Match => {
    entry.used = true
    return { _tag: "Found", exchange: entry.exchange }
  }

  /** Answers that nobody asked for, but for polls that came too early and what is sent in the background. */
  const unused = (): ReadonlyArray<string> =>
    entries.filter(({ exchange, pending, used }) => !used && !pending && !isBackground(exchange.request))
      .map(({ exchange }) => words(exchange.request))

  return { take, unused }
}
