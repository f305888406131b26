/** A fast hash of structured values: equal values give equal texts, on every platform. Not for secrets. */

const mix = (h: number): number => {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

const bits = /* @__PURE__ */ (() => {
  const float = new Float64Array(1)
  return { float, words: new Uint32Array(float.buffer) }
})()

/** Takes values one after the other; four lanes of 32 bits. */
export class Hasher {
  private a = 0x9e3779b9
  private b = 0x243f6a88
  private c = 0xb7e15162
  private d = 0x3243f6a8

  word(x: number): this {
    this.a = Math.imul(this.a ^ x, 0x239b961b)
    this.a = (this.a << 15) | (this.a >>> 17)
    this.b = Math.imul(this.b ^ this.a ^ x, 0xab0e9789)
    this.b = (this.b << 16) | (this.b >>> 16)
    this.c = Math.imul(this.c + (x ^ this.b), 0x38b34ae5)
    this.c = (this.c << 17) | (this.c >>> 15)
    this.d = (Math.imul(this.d ^ this.c, 0xa1e38b93) + x) | 0
    return this
  }

  number(x: number): this {
    if (Number.isInteger(x) && x >= -0x80000000 && x <= 0x7fffffff && !Object.is(x, -0)) return this.word(1).word(x)
    bits.float[0] = x
    return this.word(2).word(bits.words[0]!).word(bits.words[1]!)
  }

  text(x: string): this {
    this.word(3).word(x.length)
    for (let i = 0; i < x.length; i++) this.word(x.charCodeAt(i))
    return this
  }

  /** Numbers of a tensor, whatever array they stand in. */
  numbers(x: ArrayLike<number | bigint>): this {
    this.word(4).word(x.length)
    for (let i = 0; i < x.length; i++) this.number(Number(x[i]))
    return this
  }

  /** Anything that JSON can say, and typed arrays; keys in any order. */
  value(x: unknown): this {
    if (typeof x === "number") return this.number(x)
    if (typeof x === "string") return this.text(x)
    if (typeof x === "boolean") return this.word(x ? 5 : 6)
    if (typeof x === "bigint") return this.text(x.toString())
    if (x === null || typeof x !== "object") return this.word(7)
    // every typed array but DataView is a list of numbers
    if (ArrayBuffer.isView(x)) return this.numbers(x as unknown as ArrayLike<number>)
    if (Array.isArray(x)) {
      this.word(8).word(x.length)
      for (const item of x) this.value(item)
      return this
    }
    const entries = Object.entries(x).filter(([, value]) => value !== undefined)
    entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    this.word(9).word(entries.length)
    for (const [key, value] of entries) this.text(key).value(value)
    return this
  }

  /** 32 hexadecimal digits. */
  digest(): string {
    let out = ""
    let carry = this.d
    for (const lane of [this.a, this.b, this.c, this.d]) {
      carry = mix(lane ^ carry)
      out += (carry >>> 0).toString(16).padStart(8, "0")
    }
    return out
  }
}

export const hash = (value: unknown): string => new Hasher().value(value).digest()

/** A whole number from 0 below 2^31 from whole numbers: seeds of what belongs together. */
export const seedOf = (...numbers: ReadonlyArray<number>): number => {
  const hasher = new Hasher()
  for (const x of numbers) hasher.number(x)
  return Number.parseInt(hasher.digest().slice(0, 8), 16) >>> 1
}
