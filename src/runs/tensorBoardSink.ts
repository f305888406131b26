/**
 * Event files of TensorBoard: TFRecord frames (tensorflow/core/lib/io/record_writer.h) of Event messages
 * (tensorflow/core/util/event.proto).
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { crc32c } from "./crc32c.js"
import type { MetricSink } from "./MetricSink.js"
import type { Row } from "./RunDirectory.js"
import { SinkError } from "./RunError.js"

const encoder = new TextEncoder()

/** A growing buffer of protobuf fields. */
class Message {
  private readonly bytes: Array<number> = []

  private varint(value: number): this {
    while (value >= 0x80) {
      this.bytes.push((value % 0x80) | 0x80)
      value = Math.floor(value / 0x80)
    }
    this.bytes.push(value)
    return this
  }

  whole(field: number, value: number): this {
    return this.varint(field << 3).varint(value)
  }

  double(field: number, value: number): this {
    this.varint((field << 3) | 1)
    this.bytes.push(...new Uint8Array(new Float64Array([value]).buffer))
    return this
  }

  float(field: number, value: number): this {
    this.varint((field << 3) | 5)
    this.bytes.push(...new Uint8Array(new Float32Array([value]).buffer))
    return this
  }

  nested(field: number, value: Uint8Array): this {
    this.varint((field << 3) | 2).varint(value.length)
    for (const byte of value) this.bytes.push(byte)
    return this
  }

  text(field: number, value: string): this {
    return this.nested(field, encoder.encode(value))
  }

  done(): Uint8Array {
    return Uint8Array.from(this.bytes)
  }
}

/** `((crc >> 15) | (crc << 17)) + 0xa282ead8`, modulo 2^32. */
const masked = (bytes: Uint8Array): number => {
  const crc = crc32c(bytes)
  return ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0
}

/** Length, its checksum, the data, their checksum; all little-endian. */
const record = (data: Uint8Array): Uint8Array => {
  const out = new Uint8Array(data.length + 16)
  const view = new DataView(out.buffer)
  view.setUint32(0, data.length, true)
  view.setUint32(8, masked(out.subarray(0, 8)), true)
  out.set(data, 12)
  view.setUint32(12 + data.length, masked(data), true)
  return out
}

const event = (seconds: number): Message => new Message().double(1, seconds)

/** Numbers only: TensorBoard's other kinds need more than a value. */
const scalars = (row: Row, now: number): Uint8Array => {
  const summary = new Message()
  for (const [tag, value] of Object.entries(row)) {
    if (tag === "step" || typeof value !== "number") continue
    summary.nested(1, new Message().text(1, tag).float(2, value).done())
  }
  const stamp = typeof row["timestamp"] === "string" ? Date.parse(row["timestamp"]) : Number.NaN
  const seconds = Number.isNaN(stamp) ? now : stamp / 1000
  return record(event(seconds).whole(2, Number(row["step"])).nested(5, summary.done()).done())
}

const started = 1

export const make = (options: { readonly folder?: string | undefined } = {}): MetricSink => ({
  name: "tensorboard",
  open: ({ directory, start }) =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const given = options.folder ?? "tensorboard"
      const folder = path.isAbsolute(given) ? given : path.join(directory, given)
      yield* fs.makeDirectory(folder, { recursive: true })
      const millis = yield* Clock.currentTimeMillis
      const seconds = millis / 1000
      // names sort by time: files are read in the order of their names
      const name = `events.out.tfevents.${String(Math.floor(seconds)).padStart(10, "0")}.${
        String(millis % 1000).padStart(3, "0")
      }.tinkex`
      const handle = yield* fs.open(path.join(folder, name), { flag: "a" })
      yield* handle.writeAll(record(event(seconds).text(3, "brain.Event:2").done()))
      // what was said before of this step and later ones holds no longer
      yield* handle.writeAll(
        record(event(seconds).whole(2, start).nested(7, new Message().whole(1, started).done()).done())
      )
      return {
        from: start,
        take: (rows: ReadonlyArray<Row>) =>
          Effect.gen(function*() {
            const now = (yield* Clock.currentTimeMillis) / 1000
            for (const row of rows) yield* handle.writeAll(scalars(row, now))
          }).pipe(Effect.mapError((cause) => new SinkError({ sink: "tensorboard", detail: cause.message, cause })))
      }
    }).pipe(Effect.mapError((cause) => new SinkError({ sink: "tensorboard", detail: cause.message, cause })))
})
