/**
 * Archives in the ustar format.
 *
 * @internal
 */

const block = 512

const header = (name: string, size: number, modifiedMillis: number): Uint8Array => {
  const out = new Uint8Array(block)
  const ascii = new TextEncoder()
  const put = (offset: number, text: string) => out.set(ascii.encode(text), offset)
  const octal = (offset: number, width: number, value: number) =>
    put(offset, `${Math.floor(value).toString(8).padStart(width - 1, "0")}\0`)
  put(0, name)
  octal(100, 8, 0o644)
  octal(108, 8, 0)
  octal(116, 8, 0)
  octal(124, 12, size)
  octal(136, 12, modifiedMillis / 1000)
  put(148, "        ")
  put(156, "0")
  put(257, "ustar\u000000")
  put(265, "root")
  put(297, "root")
  let sum = 0
  for (const byte of out) sum += byte
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `)
  return out
}

/**
 * A tar of `files`. Names have at most 100 bytes; what this server puts into archives is far below.
 *
 * @internal
 */
export const pack = (
  files: ReadonlyArray<{ readonly name: string; readonly bytes: Uint8Array }>,
  modifiedMillis: number
): Uint8Array => {
  const padded = (size: number) => Math.ceil(size / block) * block
  const out = new Uint8Array(files.reduce((n, file) => n + block + padded(file.bytes.length), 2 * block))
  let at = 0
  for (const { bytes, name } of files) {
    out.set(header(name, bytes.length, modifiedMillis), at)
    out.set(bytes, at + block)
    at += block + padded(bytes.length)
  }
  return out
}
