/**
 * Reads tar archives (ustar, pax, GNU long names) piece by piece, for archives that are not trusted: what could reach outside
 * of the folder it is unpacked to is refused, as is everything that is neither a file nor a folder.
 */

/** Why an archive is refused. */
export class TarProblem {
  readonly _tag = "TarProblem"
  constructor(readonly reason: "Unsafe" | "Corrupt" | "TooLarge", readonly detail: string) {}
}

export type Event =
  | { readonly _tag: "Directory"; readonly name: string }
  | { readonly _tag: "File"; readonly name: string; readonly size: number }
  | { readonly _tag: "Data"; readonly bytes: Uint8Array }
  | { readonly _tag: "End" }

const block = 512
/** Names and attributes of one entry may take so much. */
const maxMetadata = 1024 * 1024

/**
 * A name in an archive as parts below the folder it is unpacked to; throws `TarProblem` for one that leads elsewhere, on any
 * system.
 */
export const safeParts = (name: string): ReadonlyArray<string> => {
  const refuse = (detail: string): never => {
    throw new TarProblem("Unsafe", `${JSON.stringify(name.slice(0, 200))} ${detail}`)
  }
  if (name.includes("\0")) refuse("has a NUL in it")
  if (name.includes("\\")) refuse("has a backslash in it")
  if (name.startsWith("/")) refuse("is absolute")
  if (/^[A-Za-z]:/.test(name)) refuse("names a drive")
  const parts = name.split("/").filter((part) => part !== "" && part !== ".")
  if (parts.includes("..")) refuse("leads out of the folder")
  return parts
}

const text = new TextDecoder()

const stringAt = (header: Uint8Array, offset: number, length: number): string => {
  const field = header.subarray(offset, offset + length)
  const end = field.indexOf(0)
  return text.decode(end < 0 ? field : field.subarray(0, end))
}

const numberAt = (header: Uint8Array, offset: number, length: number): number => {
  const first = header[offset] ?? 0
  if (first === 0x80) {
    // base 256, for sizes that octal digits have no room for
    let value = 0
    for (let i = offset + 1; i < offset + length; i++) value = value * 256 + (header[i] ?? 0)
    return value
  }
  const digits = stringAt(header, offset, length).trim()
  if (!/^[0-7]*$/.test(digits)) throw new TarProblem("Corrupt", "a header has a number that is none")
  return digits === "" ? 0 : Number.parseInt(digits, 8)
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

const checkSum = (header: Uint8Array): void => {
  let sum = 0
  for (let i = 0; i < block; i++) sum += i >= 148 && i < 156 ? 32 : header[i] ?? 0
  if (sum !== numberAt(header, 148, 8)) throw new TarProblem("Corrupt", "the checksum of a header is wrong")
}

/** `<length> <key>=<value>\n`, one after another; the length counts itself. */
const paxRecords = (bytes: Uint8Array): ReadonlyMap<string, string> => {
  const records = new Map<string, string>()
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(32, at)
    const length = space < 0 ? NaN : Number(text.decode(bytes.subarray(at, space)))
    const record = Number.isSafeInteger(length) ? bytes.subarray(space + 1, at + length - 1) : undefined
    const equals = record?.indexOf(61) ?? -1
    if (record === undefined || length <= space - at || at + length > bytes.length || equals < 0) {
      throw new TarProblem("Corrupt", "an extended header is broken")
    }
    records.set(text.decode(record.subarray(0, equals)), text.decode(record.subarray(equals + 1)))
    at += length
  }
  return records
}

export interface TarReader {
  /** What the next bytes of the archive say; throws `TarProblem`. */
  readonly push: (bytes: Uint8Array) => ReadonlyArray<Event>
  /** Whether the end of the archive has been seen, not only that of its bytes. */
  readonly complete: () => boolean
}

type Kind = "file" | "pax" | "longName" | "skip"

export const makeTarReader = (limits: { readonly bytes: number; readonly entries: number }): TarReader => {
  /** A header or the contents of metadata in the making. */
  let pending = new Uint8Array(block)
  let filled = 0
  let remaining = 0
  let padding = 0
  let kind: Kind | undefined
  let done = false
  let entries = 0
  let total = 0
  let longName: string | undefined
  let pax: ReadonlyMap<string, string> = new Map()
  const seen = new Set<string>()

  const startOf = (header: Uint8Array, out: Array<Event>): void => {
    checkSum(header)
    const type = String.fromCharCode(header[156] ?? 0)
    let size = numberAt(header, 124, 12)
    if (type === "x" || type === "g" || type === "L" || type === "K") {
      if (size > maxMetadata) throw new TarProblem("TooLarge", "an extended header is longer than any real one")
      kind = type === "x" ? "pax" : type === "L" ? "longName" : "skip"
      if (kind !== "skip") pending = new Uint8Array(size)
    } else {
      if (++entries > limits.entries) throw new TarProblem("TooLarge", `more than ${limits.entries} entries`)
      const prefix = stringAt(header, 257, 5) === "ustar" && header[262] === 0 ? stringAt(header, 345, 155) : ""
      const short = stringAt(header, 0, 100)
      const name = pax.get("path") ?? longName ?? (prefix === "" ? short : `${prefix}/${short}`)
      const given = pax.get("size")
      if (given !== undefined) size = Number(given)
      const sparse = Array.from(pax.keys()).some((key) => key.startsWith("GNU.sparse"))
      longName = undefined
      pax = new Map()
      if (!Number.isSafeInteger(size) || size < 0) throw new TarProblem("Corrupt", "a size is not a whole number")
      const parts = safeParts(name)
      const shown = JSON.stringify(name.slice(0, 200))
      if (type === "1" || type === "2") throw new TarProblem("Unsafe", `${shown} is a link`)
      // before there was a type for them, directories were files whose names end in a slash
      if (type === "5" || ((type === "0" || type === "\0") && name.endsWith("/"))) {
        kind = "skip"
        if (parts.length > 0) out.push({ _tag: "Directory", name: parts.join("/") })
      } else {
        if ((type !== "0" && type !== "\0" && type !== "7") || sparse) {
          throw new TarProblem("Unsafe", `${shown} is neither a file nor a folder`)
        }
        if (parts.length === 0) throw new TarProblem("Corrupt", "a file has no name")
        const safe = parts.join("/")
        if (seen.has(safe)) throw new TarProblem("Corrupt", `${shown} comes twice`)
        seen.add(safe)
        total += size
        if (total > limits.bytes) throw new TarProblem("TooLarge", `more than ${limits.bytes} bytes`)
        kind = "file"
        out.push({ _tag: "File", name: safe, size })
      }
    }
    filled = 0
    remaining = size
    padding = (block - size % block) % block
    if (remaining === 0) endOf(out)
  }

  const endOf = (out: Array<Event>): void => {
    if (kind === "file") out.push({ _tag: "End" })
    else if (kind === "pax") pax = paxRecords(pending)
    else if (kind === "longName") longName = stringAt(pending, 0, pending.length)
    kind = undefined
    filled = 0
    pending = new Uint8Array(block)
  }

  const push = (bytes: Uint8Array): ReadonlyArray<Event> => {
    const out: Array<Event> = []
    for (let at = 0; at < bytes.length;) {
      // whatever comes after the end is filling
      if (done) break
      if (kind !== undefined) {
        const part = bytes.subarray(at, at + remaining)
        if (kind === "file") out.push({ _tag: "Data", bytes: part })
        else if (kind !== "skip") pending.set(part, filled)
        filled += part.length
        remaining -= part.length
        at += part.length
        if (remaining === 0) endOf(out)
      } else if (padding > 0) {
        const skipped = Math.min(padding, bytes.length - at)
        padding -= skipped
        at += skipped
      } else {
        const part = bytes.subarray(at, at + block - filled)
        pending.set(part, filled)
        filled += part.length
        at += part.length
        if (filled < block) break
        if (isZero(pending)) done = true
        else startOf(pending, out)
      }
    }
    return out
  }

  return { push, complete: () => done }
}
