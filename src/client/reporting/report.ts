/** What may be said of an error or of a program's data in a report: never a key, a prompt, a tensor or the text of an error. */
import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import type { Redactor } from "../../observability/redaction.js"
import { replacement } from "../../observability/redaction.js"
import { disposition, isTinkexError } from "../../TinkexError.js"

const at = (value: unknown, key: string): unknown => Predicate.hasProperty(value, key) ? value[key] : undefined

const statusOf = (error: unknown): number | undefined => {
  const status = at(error, "status") ?? at(error, "statusCode")
  return typeof status === "number" && Number.isSafeInteger(status) ? status : undefined
}

const isUsers = (error: unknown): boolean => {
  const status = statusOf(error)
  if (status !== undefined && status >= 400 && status < 500) return status !== 408 && status !== 429
  return isTinkexError(error) && disposition(error, "service").userError
}

/** What an error came from. */
const causesOf = (error: unknown): ReadonlyArray<unknown> => {
  if (Cause.isCause(error)) return [...Cause.failures(error), ...Cause.defects(error)]
  if (Runtime.isFiberFailure(error)) return [error[Runtime.FiberFailureCauseId]]
  const many = at(error, "errors")
  return [at(error, "cause"), ...(Array.isArray(many) ? many : [])]
}

/** The mistake of the caller in the chain of causes of an error, which may be a circle. */
export const userErrorOf = (error: unknown): unknown => {
  const seen = new Set<unknown>()
  const waiting: Array<unknown> = [error]
  for (let i = 0; i < waiting.length; i++) {
    const one = waiting[i]
    if (!Predicate.isObject(one) || seen.has(one)) continue
    seen.add(one)
    if (isUsers(one)) return one
    waiting.push(...causesOf(one))
  }
  return undefined
}

const typeOf = (error: unknown): string => {
  const tag = at(error, "_tag")
  if (typeof tag === "string") return tag
  const name = at(at(error, "constructor"), "name")
  return typeof name === "string" && name !== "" ? name : typeof error
}

/** Type, operation, status and ids of an error. Its text stays here: that may hold whatever a server or a program put there. */
export const describe = (error: unknown) => {
  const type = typeOf(error)
  const subject = !isTinkexError(error)
    ? undefined
    : error._tag === "InvalidInput"
    ? error.field
    : error._tag === "ConfigurationError"
    ? error.setting
    : error.operation
  const status = statusOf(error)
  const requestId = isTinkexError(error) && "requestId" in error ? error.requestId : undefined
  const category = isTinkexError(error) && error._tag === "RequestFailed" ? error.category : undefined
  const what = [status, category, requestId === undefined ? undefined : `request ${requestId}`]
    .filter((part) => part !== undefined).join(", ")
  return {
    type,
    status,
    requestId,
    category,
    message: `${subject === undefined ? "" : `${subject}: `}${type}${what === "" ? "" : ` (${what})`}`
  }
}

const longestText = 500
const longestList = 50
const mostNumbers = 8
const deepest = 6

/** Makes data fit to be reported. */
export const sanitizer = (redact: Redactor): (data: unknown) => unknown => {
  const text = (value: string): string => {
    const clean = redact(value)
    return clean.length <= longestText ? clean : `${clean.slice(0, longestText - 1)}…`
  }

  const clean = (value: unknown, depth: number): unknown => {
    switch (typeof value) {
      case "string":
        return text(value)
      case "boolean":
        return value
      case "number":
        return Number.isFinite(value) ? value : String(value)
      case "bigint":
        return String(value)
      case "object": {
        if (value === null) return null
        if (depth >= deepest) return "…"
        if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `<${value.byteLength} bytes>`
        if (Array.isArray(value)) {
          return value.length > mostNumbers && value.every((item) => typeof item === "number")
            ? `<${value.length} numbers>`
            : value.slice(0, longestList).map((item) => clean(item, depth + 1))
        }
        if (Redacted.isRedacted(value)) return replacement
        if (value instanceof Error) return describe(value).message
        const out: Record<string, unknown> = {}
        for (const [key, item] of Object.entries(value).slice(0, longestList)) out[text(key)] = clean(item, depth + 1)
        return out
      }
      default:
        return undefined
    }
  }
  return (data) => clean(data, 0)
}
