/**
 * What is wrong with data that does not fit its schema, in words that show where and what, never the values.
 *
 * @since 0.1.0
 */
import type * as ParseResult from "effect/ParseResult"
import * as AST from "effect/SchemaAST"

interface Problem {
  readonly path: string
  readonly depth: number
  readonly text: string
  /** Said by a schema of this package rather than derived from the type. */
  readonly own: boolean
}

/**
 * One line per problem, at most five: `prompt.chunks[0].tokens: expected a list of 32-bit integers, element 3 is null`.
 * Unlike the formatters of `effect/ParseResult` it quotes nothing of the input, which may be a prompt or a key.
 *
 * @since 0.1.0
 * @category formatting
 */
export const describe = (error: ParseResult.ParseError | ParseResult.ParseIssue): string => {
  const problems = collect(error._tag === "ParseError" ? error.issue : error, "", 0)
  const shown = problems.slice(0, 5).map(({ path, text }) => path === "" ? text : `${path}: ${text}`)
  return `${shown.join("; ")}${problems.length > 5 ? `; and ${problems.length - 5} more` : ""}`
}

const collect = (issue: ParseResult.ParseIssue, path: string, depth: number): ReadonlyArray<Problem> => {
  const one = (text: string, own = false): ReadonlyArray<Problem> => [{ path, depth, text, own }]
  const type = (ast: AST.AST, actual: unknown, own: string | undefined): ReadonlyArray<Problem> =>
    own === undefined ? one(mismatch(ast, actual)) : one(own, true)
  switch (issue._tag) {
    case "Pointer": {
      const keys = asList<PropertyKey>(issue.path)
      return collect(issue.issue, keys.reduce(join, path), depth + keys.length)
    }
    case "Composite": {
      const members = asList<ParseResult.ParseIssue>(issue.issues).map((inner) => collect(inner, path, depth))
      return AST.isUnion(issue.ast) ? furthest(members, one(mismatch(issue.ast, issue.actual))) : members.flat()
    }
    case "Refinement":
      return issue.kind === "From"
        ? collect(issue.issue, path, depth)
        : type(issue.ast, issue.actual, ownMessage(issue.issue))
    case "Transformation":
      return collect(issue.issue, path, depth)
    case "Missing":
      return one("is missing")
    case "Unexpected":
      return one("is not expected here")
    case "Forbidden":
      return one("cannot be read here")
    case "Type":
      return type(issue.ast, issue.actual, ownMessage(issue))
  }
}

const asList = <A>(self: A | ReadonlyArray<A>): ReadonlyArray<A> => Array.isArray(self) ? self : [self as A] // what is no list is one element

const join = (path: string, key: PropertyKey): string =>
  typeof key === "number" ? `${path}[${key}]` : path === "" ? String(key) : `${path}.${String(key)}`

/** Of the members of a union, the one that got furthest into the data; when none got anywhere, what the union is. */
const furthest = (
  members: ReadonlyArray<ReadonlyArray<Problem>>,
  otherwise: ReadonlyArray<Problem>
): ReadonlyArray<Problem> => {
  const start = otherwise[0]!.depth // it is one problem
  let best = otherwise
  let depth = start
  for (const problems of members) {
    const reached = Math.max(start, ...problems.map((problem) => problem.depth))
    if (reached > depth || (best === otherwise && problems.some(({ own }) => own))) {
      best = problems
      depth = reached
    }
  }
  return best
}

/** The messages of this package's own schemas name no values; those of others are not shown. */
const ownMessage = (issue: ParseResult.ParseIssue): string | undefined =>
  issue._tag === "Type" && issue.message !== undefined && issue.actual === undefined
    ? issue.message.replace(/^Expected/, "expected")
    : undefined

const mismatch = (ast: AST.AST, actual: unknown): string => `expected ${expected(ast)}, got ${kindOf(actual)}`

const kindOf = (u: unknown): string =>
  u === undefined
    ? "nothing"
    : u === null
    ? "null"
    : Array.isArray(u)
    ? "a list"
    : typeof u === "object"
    ? "an object"
    : typeof u === "string"
    ? "text"
    : `a ${typeof u}`

const expected = (ast: AST.AST): string => {
  switch (ast._tag) {
    case "StringKeyword":
      return "text"
    case "NumberKeyword":
      return "a number"
    case "BooleanKeyword":
      return "true or false"
    case "BigIntKeyword":
      return "an integer"
    case "Literal":
      return ast.literal === null ? "null" : JSON.stringify(String(ast.literal))
    case "TypeLiteral":
      return "an object"
    case "TupleType":
      return "a list"
    case "Union":
      return Array.from(new Set(ast.types.filter((type) => !AST.isUndefinedKeyword(type)).map(expected))).join(" or ")
    case "Refinement":
      return named(ast) ?? expected(ast.from)
    case "Declaration":
      return named(ast) ?? "another type"
    case "Transformation":
      return expected(ast.from)
    default:
      return "another type"
  }
}

const words: Readonly<Record<string, string>> = {
  int: "an integer",
  Int: "an integer",
  JsonNumber: "a finite number",
  WireFloat: "a number",
  ResultFloat: "a number",
  NonEmptyString: "text that is not empty",
  IntArray: "a list of integers",
  Int32List: "a list of 32-bit integers",
  FloatArray: "a list of numbers",
  NumberList: "a list of numbers",
  NullableFloatArray: "a list of numbers or null",
  TopkPairs: "a list of lists of pairs"
}

const named = (ast: AST.Annotated): string | undefined => {
  const name = ast.annotations[AST.IdentifierAnnotationId] ?? ast.annotations[AST.TitleAnnotationId]
  const description = ast.annotations[AST.DescriptionAnnotationId]
  return typeof name !== "string"
    ? undefined
    : words[name] ?? (typeof description === "string" ? description : name)
}
