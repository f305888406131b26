/** From options to checked settings. */
import * as Duration from "effect/Duration"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { InvalidInput } from "../../protocol/InvalidInput.js"
import { shown } from "../../protocol/numbers.js"
import type { Options, SamplingRetry, Settings } from "../../TinkexConfig.js"
import { ConfigurationError } from "../../TinkexError.js"
import * as Names from "../options.js"
import { defaults, hostedBaseUrl } from "./defaults.js"
import { sha256 } from "./sha256.js"

const refuse = (setting: string, expected: string, actual: string): never => {
  throw new ConfigurationError({ setting, detail: `expected ${expected}, got ${actual}` })
}

/** Where a setting comes from, as messages name it: the option, and the variable that stands in for it. */
const apiKeyField = "apiKey (TINKER_API_KEY)"
const baseUrlField = "baseUrl (TINKER_BASE_URL)"

const normalize = (input: string | URL): URL => {
  const text = String(input).trim()
  if (!URL.canParse(text)) {
    return refuse(baseUrlField, "an absolute URL such as http://127.0.0.1:8787", "text that is none")
  }
  const url = new URL(text)
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    return refuse(baseUrlField, "a URL with http: or https:", url.protocol)
  }
  if (url.username !== "" || url.password !== "") {
    return refuse(baseUrlField, "a URL without user and password", "one that has them; the key belongs in apiKey")
  }
  url.search = ""
  url.hash = ""
  return url
}

export const normalizeBaseUrl = (input: string | URL): string => {
  const url = normalize(input)
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`
}

const hostedHost = new URL(hostedBaseUrl).host

const secret = (value: string | Redacted.Redacted): Redacted.Redacted =>
  typeof value === "string" ? Redacted.make(value) : value

/** A key without surrounding blanks; blank counts as none, as in the official SDK. */
export const keyOf = (value: string | Redacted.Redacted | undefined): Redacted.Redacted | undefined => {
  if (value === undefined) return undefined
  const text = Redacted.value(secret(value)).trim()
  return text === "" ? undefined : Redacted.make(text)
}

const headerName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/

const headersOf = (input: Readonly<Record<string, string>>, field: string): Readonly<Record<string, string>> => {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(input)) {
    const lower = name.toLowerCase()
    if (!headerName.test(lower)) refuse(field, "names that HTTP allows", "a name with other characters")
    if (!headerValue.test(value)) refuse(`${field}.${lower}`, "a value that HTTP allows", "one with other characters")
    out[lower] = value
  }
  return out
}

const count = (field: string, value: number, min: number): number =>
  Number.isSafeInteger(value) && value >= min
    ? value
    : refuse(field, `a whole number from ${min}`, shown(value))

const time = (field: string, value: Duration.DurationInput): Duration.Duration => {
  const duration = Option.getOrUndefined(Duration.decodeUnknown(value))
  return duration !== undefined && Duration.toMillis(duration) > 0
    ? duration
    : refuse(field, "a duration above 0, such as \"30 seconds\"", shown(value))
}

const finite = (field: string, value: Duration.DurationInput): Duration.Duration => {
  const duration = time(field, value)
  return Duration.isFinite(duration) ? duration : refuse(field, "a finite duration", "no end")
}

const each = <K extends string, I, O>(
  field: string,
  given: { readonly [P in K]?: I | undefined } | undefined,
  fallback: Readonly<Record<K, O>>,
  check: (field: string, value: I) => O
): Readonly<Record<K, O>> => {
  const out: Record<K, O> = { ...fallback }
  for (const key of Object.keys(given ?? {})) {
    if (!Object.hasOwn(fallback, key)) {
      refuse(`${field}.${key}`, `one of ${Object.keys(fallback).join(", ")}`, "another name")
    }
    const value = given?.[key as K] // a key of `fallback`, checked in the line above
    if (value !== undefined) out[key as K] = check(`${field}.${key}`, value)
  }
  return out
}

const samplingRetryOf = (given: Options["samplingRetry"]): SamplingRetry => {
  if (given === undefined || given === "none") return { policy: "none" }
  if (given === "standard") return { policy: "standard" }
  if (given === "progress-timeout") return { policy: "progress-timeout", progressTimeout: defaults.progressTimeout }
  if (typeof given !== "object" || given.policy !== "progress-timeout") {
    return refuse(
      "samplingRetry",
      "none, standard or progress-timeout",
      shown(typeof given === "object" ? given.policy : given)
    )
  }
  return { policy: "progress-timeout", progressTimeout: time("samplingRetry.progressTimeout", given.progressTimeout) }
}

const TypeId: unique symbol = Symbol.for("tinkex/TinkexConfig")

export const isSettings = (u: unknown): u is Settings => Predicate.hasProperty(u, TypeId)

const SettingsProto = {
  ...Inspectable.BaseProto,
  [TypeId]: TypeId,
  toJSON(this: Settings) {
    return {
      _id: "tinkex/TinkexConfig",
      baseUrl: this.baseUrl,
      tenant: this.tenant.label,
      apiKey: this.apiKey === undefined ? "none" : "<redacted>",
      projectId: this.projectId,
      tags: this.tags,
      headers: Object.keys(this.headers),
      samplingRetry: this.samplingRetry.policy,
      telemetry: this.telemetry
    }
  }
}

export const labelOfTenant = (id: string): string => {
  const at = id.lastIndexOf("#") + 1
  return id.slice(at, at + 8)
}

/** Names that are no settings: those of `timeouts`, `pools`, `chunks` and `sampling` are looked at where they are read. */
const checkNames = (options: Options): void => {
  try {
    Names.config(options)
    Names.cloudflareAccess(options.cloudflareAccess, "cloudflareAccess")
    Names.retry(options.retry, "retry")
    if (typeof options.samplingRetry === "object") Names.samplingRetry(options.samplingRetry, "samplingRetry")
  } catch (cause) {
    if (cause instanceof InvalidInput) {
      refuse(cause.field === "" ? "options" : cause.field, cause.expected, cause.actual)
    }
    throw cause
  }
}

export const settingsOf = (options: Options): Settings => {
  checkNames(options)
  const url = normalize(
    options.baseUrl === undefined || String(options.baseUrl).trim() === "" ? hostedBaseUrl : options.baseUrl
  )
  const baseUrl = normalizeBaseUrl(url)
  const hosted = url.host === hostedHost
  const apiKey = keyOf(options.apiKey)
  const key = apiKey === undefined ? "" : Redacted.value(apiKey)
  if (hosted && !key.startsWith("tml-") && !key.startsWith("eyJ")) {
    refuse(
      apiKeyField,
      "a key of the hosted service, which starts with tml- (or a JWT, which starts with eyJ); set baseUrl for another server",
      apiKey === undefined ? "none" : "one that starts otherwise"
    )
  }
  if (!headerValue.test(key)) refuse(apiKeyField, "a key that fits into an HTTP header", "one with other characters")
  const access = options.cloudflareAccess
  const accessSecret = access === undefined ? undefined : keyOf(access.clientSecret)
  if (access !== undefined && (access.clientId.trim() === "" || accessSecret === undefined)) {
    refuse(
      "cloudflareAccess (CLOUDFLARE_ACCESS_CLIENT_ID, CLOUDFLARE_ACCESS_CLIENT_SECRET)",
      "both an id and a secret",
      "only one of them"
    )
  }
  const id = `${baseUrl}#${sha256(`${baseUrl}#${key}`).slice(0, 16)}`
  const settings: Omit<Settings, keyof Inspectable.Inspectable> = {
    baseUrl,
    hosted,
    apiKey,
    tenant: { id, label: labelOfTenant(id) },
    projectId: options.projectId?.trim() === "" ? undefined : options.projectId,
    displayName: options.displayName,
    tags: options.tags ?? [],
    userMetadata: options.userMetadata ?? {},
    cloudflareAccess: access === undefined || accessSecret === undefined
      ? undefined
      : { clientId: access.clientId, clientSecret: accessSecret },
    headers: headersOf(options.headers ?? {}, "headers"),
    timeouts: each("timeouts", options.timeouts, defaults.timeouts, time),
    pools: each("pools", options.pools, defaults.pools, (field, n: number) => count(field, n, 1)),
    chunks: each("chunks", options.chunks, defaults.chunks, (field, n: number) => count(field, n, 1)),
    sampling: each("sampling", options.sampling, defaults.sampling, (field, n: number) => count(field, n, 1)),
    retry: {
      times: options.retry?.times === undefined ? defaults.retry.times : count("retry.times", options.retry.times, 0),
      base: finite("retry.base", options.retry?.base ?? defaults.retry.base),
      cap: finite("retry.cap", options.retry?.cap ?? defaults.retry.cap)
    },
    samplingRetry: samplingRetryOf(options.samplingRetry),
    telemetry: options.telemetry ?? true,
    tracing: options.tracing ?? true,
    propagation: options.propagation ?? false
  }
  return Object.assign(Object.create(SettingsProto), settings)
}
