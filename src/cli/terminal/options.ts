/**
 * Options that many commands share.
 */
import * as Options from "@effect/cli/Options"

/** Where the service is and who asks. What is left out comes from the environment. */
export const connection = {
  baseUrl: Options.text("base-url").pipe(
    Options.optional,
    Options.withDescription("URL of the service; TINKER_BASE_URL unless given, else Tinker itself")
  ),
  apiKey: Options.redacted("api-key").pipe(
    Options.optional,
    Options.withDescription("Key of the service; TINKER_API_KEY unless given")
  )
}

/** Tables for people, JSON for programs. */
export const output = {
  json: Options.boolean("json").pipe(Options.withDescription("Print JSON, and nothing else")),
  format: Options.choice("format", ["table", "json"]).pipe(
    Options.withAlias("f"),
    Options.withDefault("table"),
    Options.withDescription("How to print")
  )
}

/** Which part of a list. */
export const page = {
  limit: Options.integer("limit").pipe(
    Options.withDefault(20),
    Options.withDescription("How many at most; 0 for all")
  ),
  offset: Options.integer("offset").pipe(Options.withDefault(0), Options.withDescription("How many to leave out first"))
}

export const accessScope = Options.choice("access-scope", ["owned", "accessible"]).pipe(
  Options.withDefault("owned"),
  Options.withDescription("One's own, or also what others share")
)
