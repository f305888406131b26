/**
 * Tools in TypeScript's notation, as Harmony (gpt-oss) is told of them.
 *
 * @internal
 */
import { isObject, type Json, JsonNumber, of, pythonText, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"

type Fields = ReadonlyMap<string, Json>

const none: Fields = new Map()

const fieldsOf = (json: Json | undefined): Fields => json !== undefined && isObject(json) ? json : none

const listOf = (json: Json | undefined): ReadonlyArray<Json> => Array.isArray(json) ? json : []

const isTrue = (json: Json | undefined): boolean =>
  json !== undefined && json !== null && json !== false && json !== "" &&
  !(json instanceof JsonNumber && Number(json.text) === 0) && !(Array.isArray(json) && json.length === 0)

const typeOf = (schema: Fields): string => {
  for (const key of ["oneOf", "anyOf"]) {
    if (schema.has(key)) return listOf(schema.get(key)).map((one) => typeOf(fieldsOf(one))).join(" | ")
  }
  const type = schema.get("type") ?? "any"
  if (Array.isArray(type)) return type.map((one) => typeOf(new Map([["type", one]]))).join(" | ")
  const base = type === "string" && schema.has("enum")
    ? undefined
    : type === "string" || type === "boolean"
    ? type
    : type === "number" || type === "integer"
    ? "number"
    : type === "array"
    ? `${typeOf(fieldsOf(schema.get("items")))}[]`
    : type === "object"
    ? objectOf(schema)
    : "any"
  if (base === undefined) return listOf(schema.get("enum")).map((value) => write(value)).join(" | ")
  return isTrue(schema.get("nullable")) ? `${base} | null` : base
}

const objectOf = (schema: Fields): string => {
  const required = listOf(schema.get("required"))
  const fields = Array.from(
    fieldsOf(schema.get("properties")),
    ([name, field]) => `${name}${required.includes(name) ? "" : "?"}: ${typeOf(fieldsOf(field))}`
  )
  return `{ ${fields.join(", ")} }`
}

const commentsOf = (schema: Fields): ReadonlyArray<string> => {
  const title = schema.get("title")
  const description = schema.get("description")
  const examples = listOf(schema.get("examples"))
  return [
    ...(isTrue(title) ? [pythonText(title!), ""] : []),
    ...(isTrue(description) ? [pythonText(description!)] : []),
    ...(examples.length > 0 ? ["Examples:", ...examples.map((example) => `- ${write(example)}`)] : [])
  ]
}

const parametersOf = (schema: Fields): string => {
  const properties = fieldsOf(schema.get("properties"))
  if (schema.get("type") !== "object" || properties.size === 0) return "()"
  const description = schema.get("description")
  const required = listOf(schema.get("required"))
  const lines = [`(_:${isTrue(description) ? ` // ${pythonText(description!)}` : ""}`, "{"]
  for (const [name, value] of properties) {
    const field = fieldsOf(value)
    for (const comment of commentsOf(field)) lines.push(`// ${comment}`)
    const preset = field.has("default") ? ` // default: ${write(field.get("default")!)}` : ""
    lines.push(`${name}${required.includes(name) ? "" : "?"}: ${typeOf(field)},${preset}`)
  }
  return [...lines, "})"].join("\n")
}

/** @internal */
export const harmonyTypes = (tools: ReadonlyArray<ToolSpec>): string =>
  tools
    .map(({ description, name, parameters }) =>
      `${description === "" ? "" : `// ${description}\n`}type ${name} = ${
        parametersOf(fieldsOf(of(parameters)))
      } => any;`
    )
    .join("\n\n")
