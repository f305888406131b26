/**
 * Compressed bodies (docs/protocol/transport.md#compressed-bodies): one zstd frame, default level, content size in its header. The library behind it
 * is loaded on first use.
 *
 * @since 0.1.0
 */
import type * as Library from "@bokuweb/zstd-wasm"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import { inspectFrame } from "./internal/zstdFrame.js"

/**
 * A body that is not inflated. `Malformed`: it is not one whole zstd frame. `TooLarge`: it would be more bytes than allowed;
 * nothing was inflated, or no more than that.
 *
 * @since 0.1.0
 * @category errors
 */
export class ZstdError extends Data.TaggedError("ZstdError")<{
  readonly reason: "Malformed" | "TooLarge"
  readonly detail: string
}> {
  override get message(): string {
    return `zstd: ${this.detail}`
  }
}

/**
 * How many bytes a body may be once inflated, unless said otherwise: 64 MiB.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultMaxBytes = 64 * 1024 * 1024

type Zstd = typeof Library

const loaded: { library: Promise<Zstd> | undefined } = globalValue(
  "tinkex/Zstd/library",
  () => ({ library: undefined })
)

const load = Effect.promise(() =>
  loaded.library ??= import("@bokuweb/zstd-wasm").then(async (library) => {
    await library.init()
    return library
  })
)

/**
 * One frame that holds the bytes.
 *
 * @since 0.1.0
 * @category encoding
 */
export const compress = (bytes: Uint8Array): Effect.Effect<Uint8Array> =>
  Effect.map(load, (library) => library.compress(bytes))

/**
 * The bytes that one frame holds. Its headers are read first: a frame that says, or could turn out, to be larger than
 * `maxBytes` is never given more memory than that. Frames with a dictionary, several frames in a row and bytes behind the
 * frame are refused.
 *
 * @since 0.1.0
 * @category decoding
 */
export const decompress = (
  bytes: Uint8Array,
  options: { readonly maxBytes?: number | undefined } = {}
): Effect.Effect<Uint8Array, ZstdError> =>
  Effect.suspend(() => {
    const maxBytes = options.maxBytes ?? defaultMaxBytes
    const frame = inspectFrame(bytes)
    if (typeof frame === "string") return Effect.fail(new ZstdError({ reason: "Malformed", detail: frame }))
    const tooLarge = new ZstdError({
      reason: "TooLarge",
      detail: `the body is more than ${maxBytes} bytes once inflated`
    })
    if ((frame.contentSize ?? 0) > maxBytes) return Effect.fail(tooLarge)
    if (frame.contentSize === 0 || frame.mostBytes === 0) return Effect.succeed(new Uint8Array(0))
    return Effect.flatMap(load, (library) =>
      Effect.try({
        try: () => library.decompress(bytes, { defaultHeapSize: Math.min(frame.mostBytes, maxBytes) }),
        // an unannounced size that the memory given did not hold is the one failure that is not the frame's form
        catch: () =>
          frame.contentSize === undefined && frame.mostBytes > maxBytes
            ? tooLarge
            : new ZstdError({ reason: "Malformed", detail: "the frame does not decode" })
      }))
  })
