/**
 * `POST /tokenize` and `/detokenize`, as vLLM has them, and `GET /models`.
 */
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Response from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { attempt } from "../../protocol/InvalidInput.js"
import * as ModelInput from "../../protocol/ModelInput.js"
import { type Failure, GatewayError } from "../errors.js"
import type { Models } from "../models.js"
import { nameOf } from "./logprobs.js"
import { type DetokenizeRequest, messagesOf, type TokenizeRequest } from "./request.js"

type Answer = Effect.Effect<HttpServerResponse.HttpServerResponse, Failure, Scope.Scope>

export const tokenize = (models: Models, request: typeof TokenizeRequest.Type): Answer =>
  Effect.gen(function*() {
    const { chat, tokenizer } = yield* models.open(request.model, undefined)
    const { messages, prompt } = request
    if ((prompt === undefined) === (messages === undefined)) {
      return yield* new GatewayError({
        status: 400,
        type: "invalid_request_error",
        param: "prompt",
        detail: "exactly one of prompt and messages has to be given"
      })
    }
    const tokens = messages === undefined
      ? tokenizer.encode(prompt ?? "", { addSpecialTokens: request.add_special_tokens ?? true })
      : yield* Effect.flatMap(
        Effect.zip(chat, messagesOf(messages)),
        ([{ renderer }, read]) => attempt(() => ModelInput.tokens(renderer.prompt(read)))
      )
    return Response.unsafeJson({
      count: tokens.length,
      tokens: [...tokens],
      ...(request.return_token_strs === true
        ? { token_strs: Array.from(tokens, (token) => nameOf(tokenizer, token)) }
        : {})
    })
  })

export const detokenize = (models: Models, request: typeof DetokenizeRequest.Type): Answer =>
  Effect.gen(function*() {
    const { tokenizer } = yield* models.open(request.model, undefined)
    const alien = request.tokens.findIndex((token) => !tokenizer.has(token))
    if (alien !== -1) {
      return yield* new GatewayError({
        status: 400,
        type: "invalid_request_error",
        param: "tokens",
        detail: `entry ${alien} is not a token of this model`
      })
    }
    return Response.unsafeJson({ prompt: tokenizer.decode(request.tokens) })
  })

const modelOf = (id: string) => ({ id, object: "model", created: 0, owned_by: "tinkex" })

export const list = (models: Models): Answer =>
  Effect.map(models.list, (names) => Response.unsafeJson({ object: "list", data: names.map(modelOf) }))

export const one = (models: Models, name: string): Answer =>
  Effect.map(models.open(name, undefined), ({ target }) => Response.unsafeJson({ ...modelOf(name), root: target }))
