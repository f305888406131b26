/**
 * Writes protobuf from the last field to the first, so that the length of a nested message is known when its header is
 * written and every byte is written once.
 *
 * @internal
 */

const encoder = new TextEncoder()

/** @internal */
export class ProtoWriter {
  private buffer: Uint8Array
  private position: number

  /** `estimate` is how many bytes are expected; the buffer grows when there are more. */
  constructor(estimate: number) {
    this.buffer = new Uint8Array(estimate)
    this.position = estimate
  }

  /** Bytes written so far. Taken before a nested message, it is what `message` needs to know its length. */
  get length(): number {
    return this.buffer.length - this.position
  }

  finish(): Uint8Array {
    return this.buffer.subarray(this.position)
  }

  private reserve(n: number): number {
    if (n > this.position) {
      const used = this.length
      const grown = new Uint8Array(Math.max(this.buffer.length * 2, used + n + 64))
      grown.set(this.buffer.subarray(this.position), grown.length - used)
      this.buffer = grown
      this.position = grown.length - used
    }
    this.position -= n
    return this.position
  }

  private varint(value: number): void {
    let rest = value
    let n = 1
    while (rest >= 0x80) {
      rest = Math.floor(rest / 128)
      n++
    }
    let at = this.reserve(n)
    rest = value
    while (n-- > 1) {
      this.buffer[at++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    this.buffer[at] = rest
  }

  private key(field: number, wireType: number): void {
    this.varint(field * 8 + wireType)
  }

  /** A whole number from 0. Zero is the default and not written. */
  uint(field: number, value: number): void {
    if (value !== 0) this.present(field, value)
  }

  /** A whole number from 0, written also when it is 0. */
  present(field: number, value: number): void {
    this.varint(value)
    this.key(field, 0)
  }

  /** A number of 32 bits; negative ones take ten bytes. */
  int32(field: number, value: number): void {
    if (value >= 0) return this.uint(field, value)
    const low = value >>> 0
    const at = this.reserve(10)
    for (let i = 0; i < 4; i++) this.buffer[at + i] = ((low >>> (7 * i)) & 0x7f) | 0x80
    this.buffer[at + 4] = ((low >>> 28) & 0x0f) | 0xf0
    this.buffer.fill(0xff, at + 5, at + 9)
    this.buffer[at + 9] = 1
    this.key(field, 0)
  }

  double(field: number, value: number): void {
    const at = this.reserve(8)
    new DataView(this.buffer.buffer).setFloat64(at, value, true)
    this.key(field, 1)
  }

  bytes(field: number, value: Uint8Array): void {
    this.raw(value)
    this.varint(value.length)
    this.key(field, 2)
  }

  /** Bytes, unless there are none. */
  nonEmpty(field: number, value: Uint8Array): void {
    if (value.length > 0) this.bytes(field, value)
  }

  /** Bytes of a field whose header `message` writes afterwards. */
  raw(value: Uint8Array): void {
    const at = this.reserve(value.length) // may replace the buffer
    this.buffer.set(value, at)
  }

  /** Text, written also when it is empty, as in entries of maps. */
  text(field: number, value: string): void {
    this.bytes(field, encoder.encode(value))
  }

  /** Text. The empty text is the default and not written. */
  string(field: number, value: string): void {
    if (value !== "") this.text(field, value)
  }

  /** Numbers from 0, packed. An empty list is not written. */
  packed(field: number, values: ReadonlyArray<number>): void {
    if (values.length === 0) return
    const mark = this.length
    for (let i = values.length - 1; i >= 0; i--) this.varint(values[i]!)
    this.message(field, mark)
  }

  /** Closes a nested message: everything written since the writer had `mark` bytes is its body. */
  message(field: number, mark: number): void {
    this.varint(this.length - mark)
    this.key(field, 2)
  }
}
