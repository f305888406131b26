/**
 * Request bodies as bytes: read in linear time, with a bound on each and on all that are being received together.
 *
 * @internal
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import { Readable } from "node:stream"
import { badRequest, type Refusal, tooLarge, tooMany } from "./refusal.js"
import type { Uploads } from "./uploads.js"

/** @internal */
export interface Bounds {
  /** Of one body. */
  readonly each: number
  /** Of all together. */
  readonly together: number
}

const unreadable = badRequest("The body could not be read to its end")

const beyond = (limit: number): Refusal => tooLarge(`The body is larger than ${limit} bytes. Send less at a time`)

const busy = tooMany("The server is receiving as much as it can hold; send it again later", 1)

/**
 * Collects one body. What is refused is still read to its end, or to twice the bound, and thrown away: who is still
 * writing does not read an answer.
 */
class Collector {
  private chunks: Array<Uint8Array> = []
  private size = 0
  private held = 0
  private refusal: Refusal | undefined

  constructor(private readonly bounds: Bounds, private readonly uploads: Uploads) {}

  /** False when nothing more need be read. */
  add(chunk: Uint8Array): boolean {
    this.size += chunk.length
    if (this.refusal === undefined) {
      if (this.size > this.bounds.each) this.refuse(beyond(this.bounds.each))
      else if (this.uploads.bytes + chunk.length > this.bounds.together) this.refuse(busy)
      else {
        this.chunks.push(chunk)
        this.held += chunk.length
        this.uploads.bytes += chunk.length
      }
    }
    return this.size <= 2 * this.bounds.each
  }

  private refuse(refusal: Refusal): void {
    this.refusal = refusal
    this.release()
  }

  release(): void {
    this.uploads.bytes -= this.held
    this.held = 0
    this.chunks = []
  }

  get result(): Effect.Effect<Uint8Array, Refusal> {
    if (this.refusal !== undefined) return Effect.fail(this.refusal)
    const [only] = this.chunks
    return Effect.succeed(only !== undefined && this.chunks.length === 1 ? only : Buffer.concat(this.chunks, this.size))
  }
}

/** Of Node's server. */
const fromReadable = (source: Readable, collector: Collector): Effect.Effect<Uint8Array, Refusal> =>
  Effect.async((resume) => {
    const done = (result: Effect.Effect<Uint8Array, Refusal>) => {
      stop()
      resume(result)
    }
    const onData = (chunk: Uint8Array) => {
      if (!collector.add(chunk)) done(collector.result)
    }
    const onEnd = () => done(collector.result)
    const onGone = () => done(Effect.fail(unreadable))
    const stop = () => {
      source.off("data", onData).off("end", onEnd).off("error", onGone).off("close", onGone)
      // the rest flows on to nowhere, so that the connection can be used again
      source.on("error", () => {}).resume()
    }
    source.on("data", onData).on("end", onEnd).on("error", onGone).on("close", onGone)
    return Effect.sync(stop)
  })

/** Of a web request. */
const fromStream = (source: ReadableStream<Uint8Array>, collector: Collector): Effect.Effect<Uint8Array, Refusal> =>
  Effect.acquireUseRelease(
    Effect.sync(() => source.getReader()),
    (reader) =>
      Effect.flatten(Effect.tryPromise({
        try: async () => {
          for (;;) {
            const { done, value } = await reader.read()
            if (done || !collector.add(value)) return collector.result
          }
        },
        catch: () => unreadable
      })),
    (reader) => Effect.ignore(Effect.tryPromise(() => reader.cancel()))
  )

/**
 * The bytes of the current request's body, as they were sent.
 *
 * @internal
 */
export const readBody = (
  bounds: Bounds,
  uploads: Uploads
): Effect.Effect<Uint8Array, Refusal, HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, source }) => {
    if (Number(headers["content-length"] ?? 0) > bounds.each) return Effect.fail(beyond(bounds.each))
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        uploads.inFlight++
        return new Collector(bounds, uploads)
      }),
      (collector) =>
        source instanceof Readable
          ? fromReadable(source, collector)
          : source instanceof Request && source.body !== null
          ? fromStream(source.body, collector)
          : Effect.succeed(new Uint8Array()),
      (collector) =>
        Effect.sync(() => {
          uploads.inFlight--
          collector.release()
        })
    )
  })
