/**
 * A gateway in front of the server of the same process, without a socket between them.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Gateway from "../../gateway/Gateway.js"
import * as Tinkex from "../../Tinkex.js"
import type { TinkexError } from "../../TinkexError.js"
import * as Tokenizers from "../../tokenizer/Tokenizers.js"

/** Nothing listens there: requests go straight to the server. */
const baseUrl = "http://localhost"

/** Callers have shown the server's key when they come here. */
export const make = (
  client: HttpClient.HttpClient,
  apiKey: Redacted.Redacted | undefined
): Effect.Effect<Context.Tag.Service<Gateway.Gateway>, TinkexError, Scope.Scope> =>
  Effect.map(
    Layer.build(
      Gateway.layer().pipe(
        // the server has the tokenizers of all its models
        Layer.provide(Tinkex.layer({ baseUrl, apiKey, telemetry: false, tokenizers: Tokenizers.layer })),
        Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
      )
    ),
    Context.get(Gateway.Gateway)
  )
