/** Requests of every shape: no 500, no crash, no hang, no error that repeats what was sent. */
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as ForwardBackwardCodec from "../../src/protocol/ForwardBackwardCodec.js"
import { RequestSchema } from "../../src/protocol/ForwardBackwardJson.js"
import { RetrieveFutureRequest } from "../../src/protocol/Futures.js"
import { SampleRequest } from "../../src/protocol/Sampling.js"
import { TinkerCompleteApi } from "../../src/protocol/TinkerApi.js"
import { sized } from "../support/deep.js"
import * as Harness from "./fixtures/harness.js"

const total = sized(20_000)
const atOnce = 25

/** Text that no answer may repeat, and that is no valid id or name. */
const secret = "zq!zq"

/** Requests that are right, to be spoiled here and there. */
const right: Readonly<Record<string, unknown>> = {
  "/api/v1/asample": {
    sampling_session_id: "",
    seq_id: 0,
    num_samples: 1,
    prompt: { chunks: [{ type: "encoded_text", tokens: [1, 2, 3] }] },
    sampling_params: { max_tokens: 4, temperature: 1, top_k: -1, top_p: 1, stop: "x" },
    prompt_logprobs: true,
    topk_prompt_logprobs: 0
  },
  "/api/v1/forward_backward": {
    model_id: "",
    forward_backward_input: {
      data: [{
        model_input: { chunks: [{ type: "encoded_text", tokens: [1, 2] }] },
        loss_fn_inputs: {
          target_tokens: { data: [2, 3], dtype: "int64", shape: [2] },
          weights: { data: [0.5, 1], dtype: "float32", shape: [2] }
        }
      }],
      loss_fn: "cross_entropy"
    }
  },
  "/api/v1/optim_step": { model_id: "", adam_params: { learning_rate: 0.1, beta1: 0.5, eps: 0 } },
  "/api/v1/save_weights": { model_id: "", path: "b", overwrite: true, user_metadata: { a: "b" }, ttl_seconds: 9 },
  "/api/v1/save_weights_for_sampler": { model_id: "", path: "c", seq_id: null },
  "/api/v1/load_weights": { model_id: "", path: "", optimizer: true },
  "/api/v1/create_model": { session_id: "", model_seq_id: 1, base_model: "", lora_config: { rank: 8 } },
  "/api/v1/create_sampling_session": { session_id: "", sampling_session_seq_id: 5, model_path: "" },
  "/api/v1/copy_weights": { source_path: "", destination_project_id: "p" },
  "/api/v1/retrieve_future": { request_id: "", allow_metadata_only: true },
  "/api/v1/sessions/search": { limit: 5, statuses: [{ type: "active" }] }
}

interface Endpoint {
  readonly method: string
  readonly path: string
  readonly body: FastCheck.Arbitrary<unknown> | undefined
}

interface Ids {
  readonly session: string
  /** A session that may be finished, and a model that may be unloaded. */
  readonly spare: string
  readonly doomed: string
  readonly model: string
  readonly sampler: string
  readonly path: string
  readonly request: string
}

const encodedArbitrary = (schema: Schema.Schema.Any): FastCheck.Arbitrary<unknown> =>
  // the schemas of the protocol need no services
  Arbitrary.make(Schema.encodedSchema(schema as Schema.Schema<unknown, unknown>))

const endpoints: ReadonlyArray<Endpoint> = [
  ...Object.values(TinkerCompleteApi.groups).flatMap((group) =>
    Object.values(group.endpoints).map((endpoint) => ({
      method: endpoint.method as string,
      path: endpoint.path as string,
      body: Option.getOrUndefined(
        Option.map(endpoint.payloadSchema as Option.Option<Schema.Schema.Any>, encodedArbitrary)
      )
    }))
  ),
  { method: "POST", path: "/api/v1/asample", body: encodedArbitrary(SampleRequest) },
  { method: "POST", path: "/api/v1/retrieve_future", body: encodedArbitrary(RetrieveFutureRequest) },
  { method: "POST", path: "/api/v1/forward_backward", body: encodedArbitrary(RequestSchema) },
  { method: "POST", path: "/api/v1/forward", body: encodedArbitrary(RequestSchema) },
  { method: "GET", path: "/api/v1/training_runs/:run/checkpoints/:kind/:name/archive", body: undefined },
  { method: "GET", path: "/api/v1/files/:token/:file", body: undefined },
  { method: "GET", path: "/metrics", body: undefined }
]

const worthMore = endpoints.filter(({ path }) => right[path] !== undefined)

const junk = FastCheck.oneof(
  FastCheck.constantFrom<unknown>(null, true, -1, 0, 1, 2 ** 31, 2 ** 53, 1e308, "", secret, [], {}, [[]], [secret]),
  FastCheck.string().map((text) => secret + text),
  FastCheck.jsonValue({ maxDepth: 2 })
)

/** The same JSON with some of its parts exchanged: for ids that exist, or for anything at all. */
const mutate = (
  value: unknown,
  ids: Ids,
  decide: (n: number) => number,
  /** How often, in a hundred, a part is exchanged. */
  heat: number,
  other: () => unknown,
  key = ""
): unknown => {
  const known: Readonly<Record<string, unknown>> = {
    session_id: ids.session,
    model_id: ids.model,
    sampling_session_id: ids.sampler,
    path: ids.path,
    source_path: ids.path,
    tinker_path: ids.path,
    model_path: ids.path,
    base_model: "test/tiny",
    request_id: ids.request,
    loss_fn: "cross_entropy",
    rank: 8
  }
  if (decide(100) < heat) return other()
  if (Object.hasOwn(known, key) && decide(20) > 0) return known[key]
  if (Array.isArray(value)) return value.map((element) => mutate(element, ids, decide, heat, other))
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).filter(() => decide(100) >= heat).map(([name, part]) => [
        name,
        mutate(part, ids, decide, heat, other, name)
      ])
    )
  }
  if (decide(100) >= 3 * heat) return value
  return typeof value === "string" ? secret + value : typeof value === "number" ? decide(30) : value
}

/** JSON with integers of any length. */
const write = (value: unknown): string =>
  (JSON.stringify(value, (_, part) => typeof part === "bigint" ? `big:${part}` : part) ?? "null").replaceAll(
    /"big:(-?\d+)"/g,
    "$1"
  )

const pathOf = (pattern: string, ids: Ids, decide: (n: number) => number): string =>
  pattern.replace("/:id/finish", `/${decide(2) === 0 ? ids.spare : secret}/finish`).replaceAll(
    /:(\w+)/g,
    (_, name: string) => {
      const known: Readonly<Record<string, string>> = {
        id: decide(2) === 0 ? ids.session : ids.sampler,
        run: ids.model,
        kind: ["weights", "sampler_weights", "external_weights"][decide(3)]!,
        name: "abc"[decide(3)]!
      }
      return decide(4) === 0
        ? encodeURIComponent(["%", "..", "/", "\0", "é", " ", secret, "x".repeat(300)][decide(8)]!)
        : decide(5) === 0
        ? ["%zz", "a%2fb", "%00", ":", "::", "*"][decide(6)]!
        : known[name] ?? secret
    }
  )

const queries = [
  "",
  "",
  "?limit=3&offset=1",
  `?limit=${encodeURIComponent(secret)}`,
  "?limit=-1",
  "?x=1&x=2",
  "?%zz",
  "?&&=",
  "?starting_on=a&ending_before=b"
]

const encodings: ReadonlyArray<Record<string, string>> = [
  ...Array.from({ length: 20 }, () => ({})),
  { "content-encoding": "zstd" },
  { "content-encoding": "gzip" },
  { "content-encoding": secret },
  { "content-type": ForwardBackwardCodec.mediaType },
  { "content-type": secret },
  { accept: ForwardBackwardCodec.mediaType },
  { "x-tinker-request-iteration": secret }
]

const noAnswer = () =>
  new Promise<never>((_, reject) =>
    setTimeout(() => reject(new Error("no answer within five minutes")), 300_000).unref()
  )

describe("fuzz", () => {
  it.scopedLive(`${total} requests`, () =>
    Effect.gen(function*() {
      const h = yield* Harness.make({ longPoll: "1 millis", gapTimeout: "1 millis", limits: { bodyBytes: 1_000_000 } })
      const model = yield* h.model
      const first = yield* h.forwardBackward(model, 1, [Harness.datum(1, 2)])
      const saved = yield* h.post("/save_weights", { model_id: model, seq_id: 2, path: "a" })
      const frozen = yield* h.post("/save_weights_for_sampler", {
        model_id: model,
        seq_id: 3,
        sampling_session_seq_id: 0
      })
      yield* Harness.until(Effect.map(h.server.stats, ({ pendingFutures }) => pendingFutures === 0))
      const ids: Ids = {
        session: model.split(":")[0]!,
        spare: yield* h.session,
        doomed: yield* h.model,
        model,
        sampler: (yield* h.retrieve(frozen.body.request_id)).body.sampling_session_id,
        path: (yield* h.retrieve(saved.body.request_id)).body.path,
        request: first.body.request_id
      }
      const protobuf = yield* ForwardBackwardCodec.encodeRequest({
        modelId: model,
        seqId: 0,
        data: [Harness.datum(3, 4)],
        lossFn: "cross_entropy",
        forwardOnly: false
      })
      const statuses = new Map<number, number>()
      const send = (
        method: string,
        path: string,
        headers: Record<string, string>,
        body: Uint8Array | string | undefined
      ) =>
        h.server.fetch(
          new Request(`http://test${path}`, {
            method,
            headers: { "content-type": "application/json", ...headers },
            ...(body === undefined || method === "GET" ? {} : { body: body as string }) // bytes are taken as well
          })
        )

      const check = async (...request: Parameters<typeof send>) => {
        const answer = await Promise.race([send(...request), noAnswer()])
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
        const text = new TextDecoder().decode(await answer.arrayBuffer())
        const good = answer.status !== 500 && !text.includes("inside the server") &&
          (answer.status < 400 || (!text.includes("zq") && typeof JSON.parse(text).detail === "string" &&
            Number(answer.headers.get("content-length")) > 0))
        if (!good) assert.fail(`${request[0]} ${request[1]}: ${answer.status} ${text}`)
      }

      const raw = FastCheck.oneof(
        FastCheck.uint8Array({ maxLength: 200 }),
        FastCheck.string({ maxLength: 100 }).map((text) => new TextEncoder().encode(text)),
        FastCheck.tuple(FastCheck.nat(protobuf.length - 1), FastCheck.nat(255), FastCheck.nat(protobuf.length)).map(
          ([at, byte, length]) => {
            const bytes = protobuf.slice(0, length)
            if (at < length) bytes[at] = byte
            return bytes
          }
        )
      )
      const request = FastCheck.tuple(
        FastCheck.constantFrom(...endpoints, ...worthMore, ...worthMore),
        FastCheck.infiniteStream(FastCheck.nat()),
        FastCheck.infiniteStream(junk),
        FastCheck.constantFrom(...encodings),
        FastCheck.constantFrom(...queries)
      ).chain(([endpoint, rolls, others, headers, query]) => {
        const decide = (n: number): number => rolls.next().value % n
        const built = FastCheck.record({
          method: FastCheck.constant(
            decide(20) === 0 ? ["PATCH", "POST", "GET", "PUT", "DELETE"][decide(5)]! : endpoint.method
          ),
          path: FastCheck.constant(pathOf(endpoint.path, ids, decide) + query),
          headers: FastCheck.constant(headers)
        })
        const own = endpoint.path.endsWith("/unload_model") ? { ...ids, model: ids.doomed } : ids
        const heat = [0, 2, 5, 20][decide(4)]!
        const template = right[endpoint.path]
        const values = template === undefined || decide(4) === 0 ? endpoint.body : FastCheck.constant(template)
        const body: FastCheck.Arbitrary<Uint8Array | string | undefined> = values === undefined || decide(6) === 0
          ? raw
          : values.map((value) => write(mutate(value, own, decide, heat, () => others.next().value)))
        return FastCheck.tuple(built, body)
      })

      yield* Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(
            FastCheck.array(request, { minLength: atOnce, maxLength: atOnce }),
            async (requests) => {
              await Promise.all(requests.map(([{ headers, method, path }, body]) => check(method, path, headers, body)))
            }
          ),
          {
            numRuns: total / atOnce,
            seed: 7,
            endOnFailure: false
          }
        )
      )
      // the requests reached what they were aimed at, and the server is still well
      assert.includeMembers([...statuses.keys()], [200, 202, 204, 302, 400, 403, 404, 409, 415])
      assert.isAbove(statuses.get(202)!, total / 20)
      assert.strictEqual((yield* h.get("/healthz")).status, 200)
      const last = yield* h.forwardBackward(yield* h.model, 1, [Harness.datum(6)])
      yield* Harness.until(Effect.map(h.retrieve(last.body.request_id), ({ status }) => status === 200))
    }))
})
