/**
 * Tools in TypeScript's notation, as Kimi K2.5 and K2.6 are told of them.
 *
 * @internal
 */
import { isObject, type Json, JsonNumber, of, pythonText, write } from "../pythonJson.js"
import type { ToolSpec } from "../Tool.js"

type Fields = ReadonlyMap<string, Json>

const none: Fields = new Map()
const step = "  "

const fieldsOf = (json: Json | undefined): Fields => json !== undefined && isObject(json) ? json : none

const listOf = (json: Json | undefined): ReadonlyArray<Json> => Array.isArray(json) ? json : []

const textOf = (json: Json | undefined): string => typeof json === "string" ? json : ""

const comment = (text: string, indent: string): string =>
  text.split("\n").map((line) => line === "" ? "" : `${indent}// ${line}`).join("\n")

/** Limits that are told of a type, besides its description. */
const limits: Readonly<Record<string, ReadonlyArray<string>>> = {
  string: ["maxLength", "minLength", "pattern"],
  number: ["maximum", "minimum"],
  integer: ["maximum", "minimum"],
  array: ["maxItems", "minItems"]
}

type Kind = "ref" | "anyOf" | "enum" | "union" | "object" | "array" | "scalar" | "any"

const kindOf = (schema: Fields): Kind => {
  if (schema.has("$ref")) return "ref"
  if (schema.has("anyOf")) return "anyOf"
  if (schema.has("enum")) return "enum"
  const type = schema.get("type")
  if (Array.isArray(type)) return "union"
  return type === "object" || type === "array" ? type : type === undefined ? "any" : "scalar"
}

const docs = (schema: Fields, indent: string): string => {
  const kind = kindOf(schema)
  const allowed = kind === "array" || kind === "scalar" ? limits[textOf(schema.get("type"))] ?? [] : []
  const told = allowed.filter((key) => schema.has(key)).map((key) => `${key}: ${pythonText(schema.get(key)!)}`)
  // an interface of its own says what it is for
  const description = kind === "ref" ? "" : textOf(schema.get("description"))
  return (description === "" ? "" : `${comment(description, indent)}\n`) +
    (told.length === 0 ? "" : `${indent}// ${told.join(", ")}\n`)
}

const unionOf: Readonly<Record<string, string>> = {
  string: "string",
  number: "number",
  integer: "number",
  boolean: "boolean",
  null: "null",
  object: "{}",
  array: "Array<any>"
}

/** A schema that is `true` or nothing takes anything, one that is `false` takes null. */
const schemaOf = (json: Json | undefined): Fields => json === false ? new Map([["type", "null"]]) : fieldsOf(json)

const byName = ([a]: readonly [string, Json], [b]: readonly [string, Json]): number => a < b ? -1 : a > b ? 1 : 0

const propertiesOf = (schema: Fields, indent: string, sorted: boolean): ReadonlyArray<string> => {
  const required = listOf(schema.get("required"))
  const all = Array.from(fieldsOf(schema.get("properties")))
  const ordered = sorted
    ? [
      ...all.filter(([name]) => required.includes(name)).sort(byName),
      ...all.filter(([name]) => !required.includes(name)).sort(byName)
    ]
    : all
  return ordered.map(([name, json]) => {
    const field = schemaOf(json)
    const preset = field.get("default")
    const presetText = preset instanceof JsonNumber || typeof preset === "boolean"
      ? pythonText(preset)
      : write(preset ?? null)
    return docs(field, indent) +
      (preset === undefined || preset === null ? "" : `${indent}// Default: ${presetText}\n`) +
      `${indent}${name}${required.includes(name) ? "" : "?"}: ${typeOf(field, indent)}`
  })
}

const objectOf = (schema: Fields, indent: string): string => {
  const inner = indent + step
  const more = schema.get("additionalProperties")
  const open = more === undefined || more === null
    ? []
    : [`${inner}[k: string]: ${more === true ? "any" : more === false ? "never" : typeOf(schemaOf(more), inner)}`]
  const fields = [...propertiesOf(schema, inner, true), ...open]
  return fields.length === 0 ? "{}" : `{\n${fields.join(",\n")}\n${indent}}`
}

const typeOf = (schema: Fields, indent: string): string => {
  switch (kindOf(schema)) {
    case "ref": {
      const name = textOf(schema.get("$ref"))
      return name === "#" ? "parameters" : name.split("/").at(-1) ?? ""
    }
    case "anyOf":
      return listOf(schema.get("anyOf")).map((one) => typeOf(schemaOf(one), indent)).join(" | ")
    case "enum":
      return listOf(schema.get("enum")).map((one) => typeof one === "string" ? `"${one}"` : pythonText(one)).join(" | ")
    case "union":
      return listOf(schema.get("type")).map((one) => unionOf[textOf(one)] ?? "any").join(" | ")
    case "object":
      return objectOf(schema, indent)
    case "array": {
      const items = schemaOf(schema.get("items"))
      const told = docs(items, indent + step)
      return told === ""
        ? `Array<${typeOf(items, indent)}>`
        : `Array<\n${told}${indent}${step}${typeOf(items, indent + step)}\n${indent}>`
    }
    case "scalar": {
      const type = textOf(schema.get("type"))
      return type === "integer" ? "number" : type
    }
    case "any":
      return "any"
  }
}

const refersToItself = (json: Json): boolean =>
  isObject(json)
    ? json.get("$ref") === "#" || Array.from(json.values()).some(refersToItself)
    : Array.isArray(json) && json.some(refersToItself)

const toolOf = ({ description, name, parameters }: ToolSpec): string => {
  const schema = fieldsOf(of(parameters))
  const itself = refersToItself(schema)
  const fields = propertiesOf(schema, step, false)
  const interfaces = [
    ...(itself ? [`interface parameters {${fields.length === 0 ? "" : `\n${fields.join(",\n")}\n`}}`] : []),
    ...Array.from(fieldsOf(schema.get("$defs")), ([one, json]) => {
      const told = textOf(fieldsOf(json).get("description"))
      return `${told === "" ? "" : `${comment(told, "")}\n`}interface ${one} ${typeOf(fieldsOf(json), "")}`
    })
  ]
  return [
    interfaces.join("\n"),
    description === "" ? "" : comment(description, ""),
    `type ${name} = (_: ${itself ? "parameters" : objectOf(schema, "")}) => any;`
  ].filter((part) => part !== "").join("\n")
}

/** @internal */
export const typeScriptOf = (tools: ReadonlyArray<ToolSpec>): string =>
  tools.length === 0 ? "" : `# Tools\n\n## functions\nnamespace functions {\n${tools.map(toolOf).join("\n")}\n}\n`
