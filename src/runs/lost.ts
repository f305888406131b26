/** Which failures of a program leave the weights of its client in doubt, so that they have to be restored. */
import type { TinkexError } from "../TinkexError.js"

const recoverable: ReadonlySet<string> = new Set<TinkexError["_tag"]>([
  "CircuitOpen",
  "ClientClosed",
  "Conflict",
  "ConnectionError",
  "FutureExpired",
  "FutureTimeout",
  "MalformedResponse",
  "NotFound",
  "PermissionDenied",
  "RateLimited",
  "RequestTimeout",
  "ServerError",
  "UnexpectedStatus"
])

/** Not those that would come again: what the caller did wrong, and what only a person can change. */
export const isLoss = (error: unknown): boolean => {
  if (typeof error !== "object" || error === null || !("_tag" in error) || typeof error._tag !== "string") return false
  if (error._tag === "RequestFailed") return "category" in error && error.category !== "user"
  return recoverable.has(error._tag)
}
