/**
 * Reads protobuf without building objects: the caller walks the fields.
 *
 * @internal
 */
import { MalformedMessage } from "../MalformedMessage.js"
import { plainView } from "./numericBytes.js"

const decoder = new TextDecoder("utf-8", { fatal: true })

/** @internal */
export class ProtoReader {
  position: number
  /** Number and wire type of the field that `next` found. */
  field = 0
  private wireType = 0

  constructor(
    private readonly buffer: Uint8Array,
    private readonly messageType: string,
    start = 0,
    private readonly end = buffer.length
  ) {
    this.position = start
  }

  /** A reader of a whole message. */
  static of(bytes: Uint8Array, messageType: string): ProtoReader {
    return new ProtoReader(plainView(bytes), messageType)
  }

  fail(detail: string): never {
    throw new MalformedMessage({ messageType: this.messageType, detail })
  }

  /** Moves to the next field; false at the end of the message. */
  next(): boolean {
    if (this.position >= this.end) return false
    const key = this.uint64()
    this.field = Math.floor(key / 8)
    this.wireType = key % 8
    if (this.field === 0) this.fail(`field number 0 at byte ${this.position}`)
    return true
  }

  /** Whether the field has the wire type that its declaration needs; a field that has not is skipped. */
  private is(wireType: number): boolean {
    if (this.wireType === wireType) return true
    this.skip()
    return false
  }

  /** A varint as a number; values beyond 2^53 lose their low digits. */
  private uint64(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      if (this.position >= this.end) this.fail("it ends inside a number")
      const byte = this.buffer[this.position++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 128
    }
    return this.fail(`a number of more than 10 bytes at byte ${this.position}`)
  }

  /** A number from 0 to 2^53. */
  uint(fallback: number): number {
    if (!this.is(0)) return fallback
    const value = this.uint64()
    return value <= Number.MAX_SAFE_INTEGER ? value : this.fail(`field ${this.field} is out of range`)
  }

  /** The low 32 bits of a varint, signed. */
  int32(fallback: number): number {
    if (!this.is(0)) return fallback
    let value = 0
    for (let i = 0; i < 10; i++) {
      if (this.position >= this.end) this.fail("it ends inside a number")
      const byte = this.buffer[this.position++]!
      if (i < 5) value |= (byte & 0x7f) << (7 * i)
      if (byte < 0x80) return value
    }
    return this.fail(`a number of more than 10 bytes at byte ${this.position}`)
  }

  double(fallback: number): number {
    if (!this.is(1)) return fallback
    const at = this.advance(8)
    return new DataView(this.buffer.buffer, this.buffer.byteOffset).getFloat64(at, true)
  }

  private advance(n: number): number {
    const at = this.position
    if (n > this.end - at) this.fail(`it ends inside field ${this.field}`)
    this.position = at + n
    return at
  }

  /** A view of the bytes of the field, not a copy; undefined for a field of another wire type. */
  bytes(): Uint8Array | undefined {
    if (!this.is(2)) return undefined
    const n = this.uint64()
    const at = this.advance(n)
    return this.buffer.subarray(at, at + n)
  }

  string(fallback: string): string {
    const bytes = this.bytes()
    if (bytes === undefined) return fallback
    try {
      return decoder.decode(bytes)
    } catch {
      return this.fail(`field ${this.field} is not UTF-8`)
    }
  }

  /** A reader of the nested message; undefined for a field of another wire type. */
  message(): ProtoReader | undefined {
    if (!this.is(2)) return undefined
    const n = this.uint64()
    const at = this.advance(n)
    return new ProtoReader(this.buffer, this.messageType, at, at + n)
  }

  /** Adds the numbers of a repeated field, packed or not. */
  repeated(into: Array<number>): void {
    if (this.wireType === 0) {
      into.push(this.uint(0))
      return
    }
    const packed = this.message()
    if (packed === undefined) return
    packed.field = this.field
    while (packed.position < packed.end) into.push(packed.uint(0))
  }

  skip(): void {
    switch (this.wireType) {
      case 0:
        this.uint64()
        return
      case 1:
        this.advance(8)
        return
      case 2:
        this.advance(this.uint64())
        return
      case 5:
        this.advance(4)
        return
      default:
        this.fail(`wire type ${this.wireType} of field ${this.field}`)
    }
  }
}
