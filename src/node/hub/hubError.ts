/** Why a model did not come from the hub. */
import * as Data from "effect/Data"

/**
 * - `NotFound`: there is no such repository, revision or file.
 * - `Unauthorized`: the hub wants a token, or another one.
 * - `Unreachable`: the hub did not answer, or the connection broke too often; what came is kept for the next time.
 * - `Ambiguous`: the repository holds several models; `detail` lists them.
 * - `Unsupported`: it holds none that can be loaded.
 * - `Malformed`: the hub's answer is not what a hub says.
 * - `Corrupt`: what came is not what the hub's checksum says.
 * - `Storage`: the cache cannot be written, or is too small.
 */
export class HubError extends Data.TaggedError("HubError")<{
  readonly reason:
    | "NotFound"
    | "Unauthorized"
    | "Unreachable"
    | "Ambiguous"
    | "Unsupported"
    | "Malformed"
    | "Corrupt"
    | "Storage"
  readonly repository: string
  readonly detail: string
}> {
  override get message(): string {
    return `${this.repository}: ${this.detail}`
  }
}
