/** What can go wrong with a download. */
import * as Data from "effect/Data"

/**
 * Why a download did not happen. Whatever had been fetched is gone; what was there before is as it was.
 *
 * - `Exists`: there is something at the target, and `overwrite` was not asked for.
 * - `Unavailable`: the server did not give the bytes, however often it was asked.
 * - `Changed`: the archive is another one than when the download began.
 * - `Corrupt`: the archive is broken, or ends too early.
 * - `Unsafe`: the archive holds a link, a device, or a name that leads out of its folder.
 * - `TooLarge`: it unpacks to more than the limits allow.
 * - `Storage`: the file system refused.
 *
 * @since 0.1.0
 * @category errors
 */
export class DownloadError extends Data.TaggedError("DownloadError")<{
  /** The path of the checkpoint. */
  readonly path: string
  readonly reason: "Exists" | "Unavailable" | "Changed" | "Corrupt" | "Unsafe" | "TooLarge" | "Storage"
  readonly detail: string
}> {
  override get message(): string {
    return `download ${this.path}: ${this.detail}. ${advice[this.reason]}`
  }
}

const advice: Readonly<Record<DownloadError["reason"], string>> = {
  Exists: "Choose another directory, or allow overwriting",
  Unavailable: "Try again later",
  Changed: "Start again",
  Corrupt: "Try again; if it stays, save the checkpoint anew",
  Unsafe: "Nothing was unpacked; do not trust this checkpoint",
  TooLarge: "Raise the limits if the checkpoint is really that large",
  Storage: "Check space and permissions"
}
