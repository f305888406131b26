/** What server and engine import of Node, in a browser: the build puts this in place of every `node:` module. */
export { isUtf8 } from "./buffer.js"

// node:stream: bodies in a page are web streams
export class Readable {}

// node:zlib: the client in the page sends nothing compressed
type Done = (error: { readonly code: string }) => void
const notHere = (_body: unknown, _options: unknown, done: Done) => done({ code: "ERR_NOT_IN_A_PAGE" })
export { notHere as gunzip, notHere as inflate }

// node:fs: built files are loaded by the page
export const existsSync = () => true

// node:worker_threads: the thread that computes is a worker of the page, which has been told its data (worker.ts)
export const { MessageChannel, Worker } = globalThis
interface Inside {
  readonly tinkexWorkerData?: unknown
  readonly postMessage: (message: unknown, transfer?: Array<Transferable>) => void
  readonly addEventListener: (event: string, listener: (event: MessageEvent) => void) => void
}
// a page has no data of a worker, a worker has the form of Inside
const inside = globalThis as unknown as Inside
export const workerData = inside.tinkexWorkerData
export const parentPort = workerData === undefined ? null : {
  postMessage: (message: unknown, transfer: Array<Transferable> = []) => inside.postMessage(message, transfer),
  on: (event: string, listener: (value: unknown) => void) =>
    inside.addEventListener(event, ({ data }) => listener(data))
}

// node:crypto: SHA-256 (FIPS 180-4), since the browser's own answers later and the server asks now
const primes = (count: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (let n = 2; found.length < count; n++) if (found.every((prime) => n % prime !== 0)) found.push(n)
  return found
}
const fraction = (x: number) => Math.floor((x - Math.floor(x)) * 2 ** 32)
const rounds = Uint32Array.from(primes(64), (prime) => fraction(Math.cbrt(prime)))
const start = Uint32Array.from(primes(8), (prime) => fraction(Math.sqrt(prime)))
const rotate = (x: number, by: number) => (x >>> by) | (x << (32 - by))

const digest = (bytes: Uint8Array): Uint8Array => {
  const padded = new Uint8Array((bytes.length + 72) & ~63)
  padded.set(bytes)
  padded[bytes.length] = 0x80
  const view = new DataView(padded.buffer)
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29))
  view.setUint32(padded.length - 4, bytes.length << 3)
  const hash = Uint32Array.from(start)
  const w = new Uint32Array(64)
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(block + 4 * i)
    for (let i = 16; i < 64; i++) {
      const a = w[i - 15]!
      const b = w[i - 2]!
      w[i] = w[i - 16]! + (rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3)) + w[i - 7]! +
        (rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10))
    }
    let [a, b, c, d, e, f, g, h] = hash as unknown as [number, number, number, number, number, number, number, number]
    for (let i = 0; i < 64; i++) {
      const one = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + rounds[i]! + w[i]!) | 0
      const two = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + one) | 0
      d = c
      c = b
      b = a
      a = (one + two) | 0
    }
    const parts = [a, b, c, d, e, f, g, h]
    for (let i = 0; i < 8; i++) hash[i] = hash[i]! + parts[i]!
  }
  const out = new DataView(new ArrayBuffer(32))
  hash.forEach((word, i) => out.setUint32(4 * i, word))
  return new Uint8Array(out.buffer)
}

const join = (...parts: ReadonlyArray<Uint8Array>): Uint8Array =>
  Buffer.concat(parts, parts.reduce((sum, { length }) => sum + length, 0))

const bytesOf = (value: string | Uint8Array) => typeof value === "string" ? new TextEncoder().encode(value) : value

const hashing = (finish: (bytes: Uint8Array) => Uint8Array) => {
  const parts: Array<Uint8Array> = []
  const self = {
    update: (value: string | Uint8Array) => {
      parts.push(bytesOf(value))
      return self
    },
    digest: (encoding?: "hex" | "base64url") => {
      const bytes = Buffer.from(finish(join(...parts)))
      if (encoding === "hex") return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")
      return encoding === undefined ? bytes : bytes.toString(encoding)
    }
  }
  return self
}

export const createHash = (_name: "sha256") => hashing(digest)

export const createHmac = (_name: "sha256", secret: Uint8Array) => {
  const key = new Uint8Array(64)
  key.set(secret.length > 64 ? digest(secret) : secret)
  const inner = key.map((byte) => byte ^ 0x36)
  const outer = key.map((byte) => byte ^ 0x5c)
  return hashing((bytes) => digest(join(outer, digest(join(inner, bytes)))))
}

export const timingSafeEqual = (a: Uint8Array, b: Uint8Array): boolean => {
  let difference = a.length ^ b.length
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!
  return difference === 0
}

export const randomBytes = (size: number) => crypto.getRandomValues(new Uint8Array(size))
