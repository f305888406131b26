/** What the server uses of Node's `Buffer`, over `Uint8Array`. Put in place of the global by the build. */
const fromBase64Url = (text: string): Uint8Array =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0))

const toBase64 = (bytes: Uint8Array): string => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))

export class Buffer extends Uint8Array {
  static override from(value: unknown, at?: unknown, length?: number): Buffer {
    if (typeof value === "string") {
      return Buffer.from(at === "base64url" || at === "base64" ? fromBase64Url(value) : new TextEncoder().encode(value))
    }
    if (value instanceof ArrayBuffer) return new Buffer(value, typeof at === "number" ? at : 0, length)
    const bytes = Uint8Array.from(value as ArrayLike<number>)
    return new Buffer(bytes.buffer, 0, bytes.length)
  }

  static override of(...bytes: ReadonlyArray<number>): Buffer {
    return Buffer.from(bytes)
  }

  static concat(parts: ReadonlyArray<Uint8Array>, size: number): Buffer {
    const whole = new Buffer(size)
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }

  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((byte, i) => byte === other[i])
  }

  override toString(encoding = "utf8"): string {
    if (encoding === "utf8") return new TextDecoder().decode(this)
    const base64 = toBase64(this)
    return encoding === "base64" ? base64 : base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
  }
}

export const isUtf8 = (bytes: Uint8Array): boolean => {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes)
    return true
  } catch {
    return false
  }
}
