/**
 * Checkpoints as files: fetched piece by piece, taken up again where a connection broke, and put in place when all is there.
 *
 * @since 0.1.0
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Path from "@effect/platform/Path"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { RestClient } from "../client/RestClient.js"
import type { TinkexError } from "../TinkexError.js"
import * as internal from "./internal/download.js"
import type { DownloadError } from "./internal/downloadError.js"

export {
  /**
   * Why a download did not happen.
   *
   * @since 0.1.0
   * @category errors
   */
  DownloadError
} from "./internal/downloadError.js"

/**
 * How far a download is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Progress {
  readonly receivedBytes: number
  /** Absent when the server does not say. */
  readonly totalBytes: number | undefined
}

/**
 * How to download.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Where the checkpoint's own folder goes; made if it is not there. */
  readonly directory: string
  /** Whether an earlier download may be replaced. It stays until the new one is complete. */
  readonly overwrite?: boolean | undefined
  readonly onProgress?: ((progress: Progress) => Effect.Effect<void>) | undefined
  /** Files and bytes that an archive may unpack to: 10,000 and 1 TiB unless given. */
  readonly maxEntries?: number | undefined
  readonly maxBytes?: number | undefined
  /** Failures in a row, without a new byte, after which it is given up. 6 unless given. */
  readonly attempts?: number | undefined
  /** A connection that is silent for so long counts as broken. A minute unless given. */
  readonly idleTimeout?: Duration.DurationInput | undefined
}

/**
 * What was downloaded. `files` are relative to `directory`, with `/` between folders.
 *
 * @since 0.1.0
 * @category models
 */
export interface Downloaded {
  readonly path: string
  readonly directory: string
  readonly files: ReadonlyArray<{ readonly name: string; readonly sizeBytes: number }>
  readonly receivedBytes: number
}

/**
 * Downloads a checkpoint into `<directory>/<run>_<kind>_<name>`: the archive of a training or sampler checkpoint, or the files
 * of an export. The archive is unpacked as it comes, into a hidden folder beside the target, which is put in place by one
 * renaming when everything is there. If it fails or is interrupted, the hidden folder is removed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const download: (
  path: string,
  options: Options
) => Effect.Effect<
  Downloaded,
  DownloadError | TinkexError,
  RestClient | HttpClient.HttpClient | FileSystem.FileSystem | Path.Path
> = internal.download

/**
 * The name of the folder of a checkpoint: `tinker://run:train:0/weights/a` gives `run_train_0_weights_a`. It holds nothing that
 * some system does not allow in a name.
 *
 * @since 0.1.0
 * @category getters
 */
export const folderOf: (path: string) => Effect.Effect<string, TinkexError> = internal.folderOf
