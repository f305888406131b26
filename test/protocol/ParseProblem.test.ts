import { assert, describe, it } from "@effect/vitest"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { RequestSchema } from "../../src/protocol/ForwardBackwardJson.js"
import { CreateModelRequest } from "../../src/protocol/Model.js"
import { describe as words } from "../../src/protocol/ParseProblem.js"
import { SampleRequest } from "../../src/protocol/Sampling.js"
import { SessionSearchRequest } from "../../src/protocol/Session.js"
import { OptimStepRequest } from "../../src/protocol/Training.js"

const problem = <A, I>(schema: Schema.Schema<A, I>, value: unknown, errors: "first" | "all" = "first"): string => {
  const result = Schema.decodeUnknownEither(schema, { errors })(value)
  return result._tag === "Left" ? words(result.left) : "no problem"
}

const text = (tokens: ReadonlyArray<unknown>) => ({ chunks: [{ type: "encoded_text", tokens }] })

describe("describe", () => {
  it("names field and index", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      [
        problem(SampleRequest, { prompt: text([1, null]), sampling_params: {} }),
        "prompt.chunks[0].tokens: expected 32-bit integers, element 1 is null"
      ],
      [
        problem(SampleRequest, { prompt: { chunks: [{ type: "video" }] }, sampling_params: {} }),
        "prompt.chunks[0].type: expected \"encoded_text\" or \"image\" or \"image_asset_pointer\" or \"dmel\", got text"
      ],
      [
        problem(SampleRequest, { prompt: text([]), sampling_params: { max_tokens: 1.5 } }),
        "sampling_params.max_tokens: expected an integer or null, got a number"
      ],
      [
        problem(SampleRequest, { prompt: text([]), sampling_params: { temperature: "hot" } }),
        "sampling_params.temperature: expected a number or null, got text"
      ],
      [
        problem(SampleRequest, {
          prompt: { chunks: [{ type: "image", data: "*", format: "png" }] },
          sampling_params: {}
        }),
        "prompt.chunks[0].data: expected base64"
      ],
      [problem(CreateModelRequest, { session_id: "s", model_seq_id: 0 }), "base_model: is missing"],
      [
        problem(RequestSchema, {
          model_id: "m",
          forward_backward_input: {
            data: [{
              model_input: text([1]),
              loss_fn_inputs: { weights: { data: [1, 2], dtype: "float32", shape: [3] } }
            }],
            loss_fn: "x"
          }
        }),
        "forward_backward_input.data[0].loss_fn_inputs.weights: expected 3 values for shape [3], got 2"
      ],
      [problem(OptimStepRequest, { model_id: 5 }), "model_id: expected text, got a number"],
      [problem(OptimStepRequest, []), "expected an object, got a list"],
      [problem(OptimStepRequest, null), "expected an object, got null"],
      [problem(OptimStepRequest, undefined), "expected an object, got nothing"],
      [
        problem(SessionSearchRequest, { limit: 0 }),
        "limit: expected a number between 1 and 200 or null, got a number"
      ],
      [problem(SessionSearchRequest, { owner: true }), "owner: expected an object or null, got a boolean"],
      [
        problem(SessionSearchRequest, { display_name: "" }),
        "display_name: expected text that is not empty or null, got text"
      ],
      [problem(SessionSearchRequest, { project_ids: {} }), "project_ids: expected a list or null, got an object"]
    ]
    for (const [actual, expected] of cases) assert.strictEqual(actual, expected)
  })

  it("shows at most five problems", () => {
    const Five = Schema.Struct({
      a: Schema.String,
      b: Schema.Boolean,
      c: Schema.Int,
      d: Schema.BigIntFromSelf,
      e: Schema.Date,
      f: Schema.Never
    })
    assert.strictEqual(
      problem(Five, { a: 1, b: 1, c: "x", d: 1, e: 1, f: 1 }, "all"),
      "a: expected text, got a number; b: expected true or false, got a number; c: expected a number, got text; d: expected an integer, got a number; e: expected text, got a number; and 1 more"
    )
    assert.strictEqual(problem(Schema.Never, 1), "expected another type, got a number")
  })

  it("knows forbidden, unexpected and named types", () => {
    assert.strictEqual(words(new ParseResult.Forbidden(Schema.String.ast, "secret")), "cannot be read here")
    assert.strictEqual(words(new ParseResult.Unexpected("secret")), "is not expected here")
    const Unnamed = Schema.declare((u): u is 1 => u === 1)
    assert.strictEqual(problem(Unnamed, "secret"), "expected another type, got text")
    const Named = Schema.declare((u): u is 1 => u === 1, { identifier: "One" })
    assert.strictEqual(problem(Named, "secret"), "expected One, got text")
    const filtered = Schema.String.pipe(Schema.filter(() => false))
    assert.strictEqual(problem(filtered, "secret"), "expected text, got text")
    const told = Schema.String.pipe(Schema.filter((s) => `do not say ${s}`))
    assert.notInclude(problem(told, "secret"), "secret")
  })

  it("never shows a value, however the schema words its own problem", () => {
    const secret = "tml-secret-4711"
    for (const schema of [SampleRequest, CreateModelRequest, OptimStepRequest, RequestSchema, SessionSearchRequest]) {
      for (
        const value of [
          secret,
          [secret],
          { prompt: secret, sampling_params: secret, session_id: [secret], model_id: { secret } },
          { prompt: text([secret]), sampling_params: { stop: { secret } } },
          { model_id: "m", forward_input: { data: [{ model_input: text([4711.5]) }], loss_fn: secret } }
        ]
      ) assert.notMatch(problem(schema as Schema.Schema<unknown>, value, "all"), /secret-|4711/)
    }
  })
})
