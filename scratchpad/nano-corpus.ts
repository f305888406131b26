/**
 * Fetches the public-domain text that `tinkex/nano` is pre-trained on, from named packages of fixed versions, and turns it into plain text.
 *
 * `loadBooks()` is what the other scripts use; run as a program it prints what there is:
 *
 *     npx tsx scratchpad/nano-corpus.ts
 *
 * Needs `apt-get`, `dpkg`, `pip` and `tar` (Debian or a relative). Archives are kept in `$TINKEX_CORPUS_DIR`, or
 * `tinkex-corpus` in the system's temporary folder, and each is checked against its SHA-256. Sources and licences:
 * `scratchpad/nano/SOURCES.md`.
 */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import * as Zlib from "node:zlib"

export interface Book {
  readonly title: string
  /** Paragraphs, each on one line, in order. */
  readonly paragraphs: ReadonlyArray<string>
}

const cache = process.env["TINKEX_CORPUS_DIR"] ?? Path.join(Os.tmpdir(), "tinkex-corpus")

interface Archive {
  readonly file: string
  readonly sha256: string
  readonly fetch: readonly [command: string, ...args: ReadonlyArray<string>]
  readonly unpack: (file: string, into: string) => readonly [command: string, ...args: ReadonlyArray<string>]
}

const dpkg: Archive["unpack"] = (file, into) => ["dpkg", "-x", file, into]
const tar: Archive["unpack"] = (file, into) => ["tar", "-xzf", file, "-C", into]

const archives = {
  austen: {
    file: "r-cran-janeaustenr_1.0.0-1_all.deb",
    sha256: "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
    fetch: ["apt-get", "download", "r-cran-janeaustenr=1.0.0-1"],
    unpack: dpkg
  },
  bible: {
    file: "sword-text-web_426.0-1_all.deb",
    sha256: "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1",
    fetch: ["apt-get", "download", "sword-text-web=426.0-1"],
    unpack: dpkg
  },
  alice: {
    file: "Brotli-1.1.0.tar.gz",
    sha256: "81de08ac11bcb85841e440c13611c00b67d3bf82698314928d0b676362546724",
    fetch: ["pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", ".", "brotli==1.1.0"],
    unpack: tar
  }
} satisfies Record<string, Archive>

/** The folder with the unpacked archive. */
const folderOf = (name: keyof typeof archives): string => {
  const archive: Archive = archives[name]
  const file = Path.join(cache, archive.file)
  const folder = Path.join(cache, name)
  Fs.mkdirSync(folder, { recursive: true })
  if (!Fs.existsSync(file)) {
    const [command, ...args] = archive.fetch
    execFileSync(command, args, { cwd: cache, stdio: ["ignore", "inherit", "inherit"] })
  }
  const sha256 = createHash("sha256").update(Fs.readFileSync(file)).digest("hex")
  if (sha256 !== archive.sha256) {
    throw new Error(`${archive.file}: SHA-256 is ${sha256}, expected ${archive.sha256}; delete ${file} and run again`)
  }
  if (Fs.readdirSync(folder).length === 0) {
    const [command, ...args] = archive.unpack(file, folder)
    execFileSync(command, args, { stdio: ["ignore", "inherit", "inherit"] })
  }
  return folder
}

/** Curly quotes, dashes, ligatures and accents to ASCII, runs of blanks to one: a vocabulary of 512 has no room for variants. */
const plain = (text: string): string =>
  text
    .replace(/[\u2018\u2019\u201b]/g, "'")
    .replace(/[\u201c\u201d]/g, "\"")
    .replace(/[\u2013\u2014]|--+/g, " - ")
    .replace(/\u2026/g, "...")
    .replace(/\u00e6/g, "ae")
    .replace(/\u00a3/g, "L")
    .normalize("NFD")
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[^\x20-\x7e]/g, " ")
    .replace(/[_*]/g, "")
    .replace(/ +/g, " ")
    .replace(/ +(?=[,.;:!?])/g, "")
    .trim()

/** Joins wrapped lines to paragraphs; drops headings (no lower-case letter, or no sentence mark) and lines of asterisks. */
const paragraphsOf = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const paragraphs: Array<string> = []
  let open: Array<string> = []
  for (const line of [...lines, ""]) {
    if (line.trim() !== "") {
      open.push(line)
      continue
    }
    const paragraph = plain(open.join(" "))
    open = []
    if (/[a-z]/.test(paragraph) && /[.!?;:,]/.test(paragraph) && !/^(chapter|volume)\b/i.test(paragraph)) {
      paragraphs.push(paragraph)
    }
  }
  return paragraphs
}

/** What `inflateSync` gives with `info: true`, which the type definitions leave out; `bytesWritten` counts the input used. */
interface Inflated {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

/**
 * The character vectors in the data base of an R package: records of a 4-byte inflated length and a zlib stream, whose content is R's
 * serialisation in big-endian XDR form (R Internals, 1.8): a vector of strings is the word 16, a length, then for each string
 * a word whose low byte is 9, a length and the bytes.
 */
const characterVectors = (file: string): ReadonlyArray<ReadonlyArray<string>> => {
  const data = Fs.readFileSync(file)
  const vectors: Array<ReadonlyArray<string>> = []
  for (let at = 0; at + 4 <= data.length;) {
    const inflate = Zlib.inflateSync(data.subarray(at + 4), { info: true }) as unknown as Inflated
    const content = inflate.buffer
    at += 4 + inflate.engine.bytesWritten
    // "X\n", format version, two R versions; version 3 adds the native encoding
    let cursor = 2 + 12
    if (content.readUInt32BE(2) === 3) {
      cursor += 4 + content.readUInt32BE(cursor)
    }
    if ((content.readUInt32BE(cursor) & 0xff) !== 16) {
      continue
    }
    const count = content.readUInt32BE(cursor + 4)
    cursor += 8
    const strings: Array<string> = []
    for (let i = 0; i < count; i++) {
      const size = content.readInt32BE(cursor + 4)
      cursor += 8
      strings.push(size < 0 ? "" : content.toString("utf8", cursor, cursor + size))
      cursor += Math.max(size, 0)
    }
    vectors.push(strings)
  }
  return vectors
}

/** The novels, each told by a name that only it has. */
const novels: ReadonlyArray<readonly [title: string, name: RegExp]> = [
  ["Emma", /Knightley/],
  ["Mansfield Park", /Norris/],
  ["Northanger Abbey", /Tilney/],
  ["Persuasion", /Wentworth/],
  ["Pride and Prejudice", /Bingley/],
  ["Sense and Sensibility", /Willoughby/]
]

const austen = (): ReadonlyArray<Book> => {
  const vectors = characterVectors(
    Path.join(folderOf("austen"), "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
  )
  return novels.map(([title, name]) => {
    const count = (vector: ReadonlyArray<string>) => vector.filter((line) => name.test(line)).length
    const lines = vectors.reduce((best, vector) => count(vector) > count(best) ? vector : best, [])
    return { title, paragraphs: paragraphsOf(lines) }
  })
}

const alice = (): ReadonlyArray<Book> => {
  const lines = Fs.readFileSync(Path.join(folderOf("alice"), "Brotli-1.1.0/tests/testdata/alice29.txt"), "latin1")
    .split(/\r?\n/)
    // Quotation marks are backquote and apostrophe there
    .map((line) => line.replace(/(^|[\s(-])[`']/g, "$1\"").replace(/`/g, "\"").replace(/'(?=[\s)]|$)/g, "\""))
  const text: Array<string> = []
  for (const line of lines) {
    // A paragraph starts with an indent of two
    if (/^ {2}\S/.test(line)) {
      text.push("")
    }
    text.push(line)
  }
  return [{ title: "Alice's Adventures in Wonderland", paragraphs: paragraphsOf(text).slice(1) }]
}

/** The narrative books, by OSIS id. */
const narrative = "Gen Exod Josh Judg Ruth 1Sam 2Sam 1Kgs 2Kgs Neh Esth Dan Jonah Matt Mark Luke John Acts".split(" ")

/** A testament of a SWORD module of type zText, a zlib block for each book: an index of offset, size and inflated size. */
const bible = (): ReadonlyArray<Book> => {
  const folder = Path.join(folderOf("bible"), "usr/share/sword/modules/texts/ztext/engWEB2015eb")
  const books: Array<Book> = []
  for (const testament of ["ot", "nt"]) {
    const index = Fs.readFileSync(Path.join(folder, `${testament}.bzs`))
    const blocks = Fs.readFileSync(Path.join(folder, `${testament}.bzz`))
    for (let at = 0; at < index.length; at += 12) {
      const start = index.readUInt32LE(at)
      const osis = Zlib.inflateSync(blocks.subarray(start, start + index.readUInt32LE(at + 4))).toString("utf8")
      const body = osis.match(/osisID="([^".]+)" sID="[^"]*" type="book"\/>([^]*)/)
      if (body === null || body[1] === undefined || body[2] === undefined || !narrative.includes(body[1])) {
        continue
      }
      const lines = body[2]
        .replace(/<(note|title)\b[^>]*>[^]*?<\/\1>/g, " ")
        .replace(/<div\b[^>]*type="x-p"\/>/g, "\n\n")
        .replace(/<[^>]*>/g, "")
        .replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, "\"").replace(/&amp;/g, "&")
        .split("\n")
      books.push({ title: `World English Bible, ${body[1]}`, paragraphs: paragraphsOf(lines) })
    }
  }
  return books
}

/** Every book of the corpus, in a fixed order. */
export const loadBooks = (): ReadonlyArray<Book> => [...alice(), ...austen(), ...bible()]

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  let total = 0
  for (const book of loadBooks()) {
    const size = book.paragraphs.reduce((sum, paragraph) => sum + paragraph.length + 1, 0)
    total += size
    console.log(`${book.title}: ${book.paragraphs.length} paragraphs, ${size} characters`)
  }
  console.log(`together ${total} characters`)
}
