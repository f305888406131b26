/**
 * From a request and its answer to a line of a cassette, without what must not be kept.
 */
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Encoding from "effect/Encoding"
import { type Body, type Exchange, type ExchangeRequest, keepHeaders } from "./cassette.js"

const replacement = "<redacted>"

/** Headers whose values are secrets. */
const credentials = ["x-api-key", "authorization", "cf-access-client-id", "cf-access-client-secret", "cookie"]

/** The secrets of a request, longest first, in the spellings in which a text may repeat them. */
const secretsOf = (headers: Readonly<Record<string, string>>): ReadonlyArray<string> => {
  const found = new Set<string>()
  for (const name of credentials) {
    const value = headers[name]?.replace(/^Bearer /i, "")
    if (value === undefined || value.length < 4) continue
    for (const spelling of [value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)]) found.add(spelling)
  }
  return [...found].sort((a, b) => b.length - a.length)
}

const scrub = (text: string, secrets: ReadonlyArray<string>): string =>
  secrets.reduce((so, secret) => so.replaceAll(secret, replacement), text)

/** Of a signed link the signature is a secret too; the link stays recognisable by a digest of its query. */
const unsigned = (url: URL): string => {
  if (url.search === "" || url.searchParams.has("replayed")) return url.href
  let hash = 0x811c9dc5
  for (let i = 0; i < url.search.length; i++) hash = Math.imul(hash ^ url.search.charCodeAt(i), 0x01000193)
  return `${url.origin}${url.pathname}?replayed=${(hash >>> 0).toString(16)}`
}

const decoder = new TextDecoder("utf-8", { fatal: true })

/** JSON, unless it has numbers of more digits than JavaScript holds. */
const jsonOf = (text: string): Body => {
  if (/\d{16}/.test(text)) return { text }
  try {
    return { json: JSON.parse(text) }
  } catch {
    return { text }
  }
}

/** A body as a cassette holds it. */
const bodyOf = (bytes: Uint8Array, secrets: ReadonlyArray<string>): Body => {
  if (bytes.length === 0) return { none: true }
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    return { base64: Encoding.encodeBase64(bytes) }
  }
  // protobuf can be valid UTF-8 by chance; control characters give it away
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0008\u000e-\u001f]/.test(text)) return { base64: Encoding.encodeBase64(bytes) }
  return jsonOf(scrub(text, secrets))
}

/** Where a request goes: below the service without its origin, elsewhere as a link without its signature. */
export const requestOf = (
  request: HttpClientRequest.HttpClientRequest,
  url: URL,
  bytes: Uint8Array,
  service: string | undefined
): ExchangeRequest => ({
  method: request.method,
  path: service === undefined || url.origin === service ? `${url.pathname}${url.search}` : unsigned(url),
  body: bodyOf(bytes, secretsOf(request.headers))
})

/** An exchange with an answer. */
export const answered = (
  request: ExchangeRequest,
  headers: Readonly<Record<string, string>>,
  response: HttpClientResponse.HttpClientResponse,
  bytes: Uint8Array
): Exchange => {
  const secrets = secretsOf(headers)
  const kept = keepHeaders(response.headers)
  const location = kept["location"]
  if (location !== undefined && URL.canParse(location)) kept["location"] = unsigned(new URL(location))
  // a token that stands for the key is one itself
  const body: Body = request.path.split("?")[0]?.endsWith("/auth/token") === true
    ? { json: { jwt: replacement } }
    : bodyOf(bytes, secrets)
  for (const [name, value] of Object.entries(kept)) kept[name] = scrub(value, secrets)
  return { request, answer: { status: response.status, headers: kept, body } }
}
