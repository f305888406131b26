/**
 * A JSON parser for the rare bodies with integers beyond 2^53, which become bigints, or with numbers that are not finite.
 *
 * @internal
 */
import { put } from "./record.js"

const space = /[ \t\n\r]*/y
const number = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
const word = /true|false|null/y
const nan = /NaN/y
const infinity = /Infinity/y
const minusInfinity = /-Infinity/y

/** @internal */
export class ExactParser {
  private at = 0

  constructor(private readonly source: string) {}

  parse(): unknown {
    this.take(space)
    const value = this.value()
    if (this.at < this.source.length) this.fail()
    return value
  }

  private fail(): never {
    throw new SyntaxError(`Unexpected token at position ${this.at} in JSON`)
  }

  /** The match of a sticky pattern here, which is then behind us. */
  private take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.source)
    if (found !== null) this.at = pattern.lastIndex
    return found
  }

  /** Whether this character comes next; it and the space after it are then behind us. */
  private eat(character: string): boolean {
    if (this.source[this.at] !== character) return false
    this.at++
    this.take(space)
    return true
  }

  private value(): unknown {
    const value = this.bare()
    this.take(space)
    return value
  }

  private bare(): unknown {
    switch (this.source[this.at]) {
      case "{":
        return this.object()
      case "[":
        return this.array()
      case "\"":
        return this.string()
      case "N":
        return this.take(nan) === null ? this.fail() : Number.NaN
      case "I":
        return this.take(infinity) === null ? this.fail() : Number.POSITIVE_INFINITY
      case "t":
      case "f":
      case "n":
        return JSON.parse((this.take(word) ?? this.fail())[0])
      default:
        return this.number()
    }
  }

  /** From one quote to the next that no odd number of backslashes precedes; what lies between is for JSON.parse. */
  private string(): string {
    const start = this.at
    let end = start
    do {
      end = this.source.indexOf("\"", end + 1)
      if (end === -1) this.fail()
    } while (this.escaped(end))
    this.at = end + 1
    return JSON.parse(this.source.slice(start, this.at))
  }

  private escaped(quote: number): boolean {
    let at = quote
    while (this.source[at - 1] === "\\") at--
    return (quote - at) % 2 === 1
  }

  private number(): number | bigint {
    if (this.take(minusInfinity) !== null) return Number.NEGATIVE_INFINITY
    const [all, fraction, exponent] = this.take(number) ?? this.fail()
    const value = Number(all)
    return fraction === undefined && exponent === undefined && !Number.isSafeInteger(value) ? BigInt(all) : value
  }

  private array(): ReadonlyArray<unknown> {
    this.eat("[")
    const out: Array<unknown> = []
    if (this.eat("]")) return out
    do out.push(this.value())
    while (this.eat(","))
    return this.source[this.at] === "]" ? (this.at++, out) : this.fail()
  }

  private object(): object {
    this.eat("{")
    const out: Record<string, unknown> = {}
    if (this.eat("}")) return out
    do {
      if (this.source[this.at] !== "\"") this.fail()
      const key = this.string()
      this.take(space)
      if (!this.eat(":")) this.fail()
      put(out, key, this.value())
    } while (this.eat(","))
    return this.source[this.at] === "}" ? (this.at++, out) : this.fail()
  }
}
