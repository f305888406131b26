/**
 * A model in training and samplers of it, as checks use them: one request a call, in order, numbers as plain lists.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type { Datum } from "../protocol/Datum.js"
import * as ForwardBackwardCodec from "../protocol/ForwardBackwardCodec.js"
import * as SampleCodec from "../protocol/SampleCodec.js"
import type { SampleResponse } from "../protocol/Sampling.js"
import * as TensorData from "../protocol/TensorData.js"
import type { LossFnConfig } from "../protocol/Training.js"
import { Deviation, Lacking } from "./check.js"
import { type Answer, field, type Outcome, type Peer, text, type Unreachable, wordsOf } from "./peer.js"

/**
 * What a pass gave.
 *
 * @since 0.2.0
 * @category models
 */
export interface Pass {
  /** By datum, row-major. */
  readonly logprobs: ReadonlyArray<ReadonlyArray<number>>
  readonly metrics: Readonly<Record<string, number>>
  /** `metrics["loss:sum"]`. */
  readonly loss: number | undefined
}

/**
 * Settings of a pass.
 *
 * @since 0.2.0
 * @category models
 */
export interface PassOptions {
  readonly loss?: string | undefined
  readonly config?: LossFnConfig | undefined
  readonly forwardOnly?: boolean | undefined
  /** Under which name a capability report has the loss; a server that refuses it then lacks it. */
  readonly feature?: string | undefined
}

/**
 * Why a step of a check ended early.
 *
 * @since 0.2.0
 * @category errors
 */
export type Failure = Deviation | Unreachable
type Refusal = Failure | Lacking

/**
 * One model.
 *
 * @since 0.2.0
 * @category models
 */
export interface Trainer {
  readonly id: string
  /** The seq id that the next request will carry, and that then counts as used. */
  readonly seq: () => number
  readonly submitPass: (
    data: ReadonlyArray<Datum>,
    options?: PassOptions & { readonly seq?: number }
  ) => Effect.Effect<Answer, Failure>
  readonly pass: (data: ReadonlyArray<Datum>, options?: PassOptions) => Effect.Effect<Pass, Refusal>
  readonly submitStep: (adam?: object, seq?: number) => Effect.Effect<Answer, Failure>
  /** The gradient's norm before clipping, where the server tells it. */
  readonly step: (adam?: object) => Effect.Effect<number | undefined, Failure>
  /** The gradient's norm, from a step that changes nothing. */
  readonly norm: Effect.Effect<number, Failure | Lacking>
  /** Any other operation of the model. */
  readonly operate: (path: string, body?: object) => Effect.Effect<Outcome, Failure>
  /** A sampler of the weights as they are now. */
  readonly sampler: Effect.Effect<Sampler, Failure>
}

/**
 * Frozen weights.
 *
 * @since 0.2.0
 * @category models
 */
export interface Sampler {
  readonly id: string
  readonly submit: (
    prompt: ReadonlyArray<number>,
    params: object,
    more?: object
  ) => Effect.Effect<Answer, Failure>
  readonly sample: (
    prompt: ReadonlyArray<number>,
    params: object,
    more?: Readonly<Record<string, unknown>> & { readonly feature?: string }
  ) => Effect.Effect<SampleResponse, Refusal>
}

/**
 * Whether a status refuses a request as it stands.
 *
 * @since 0.2.0
 * @category guards
 */
export const refuses = (status: number): boolean =>
  status >= 400 && status < 500 && status !== 408 && status !== 429 || status === 501

/**
 * The id of the future that an answer promises.
 *
 * @since 0.2.0
 * @category assertions
 */
export const accepted = (answer: Answer): Effect.Effect<string, Deviation> => {
  const id = text(answer.json, "request_id")
  return answer.status >= 200 && answer.status < 300 && id !== ""
    ? Effect.succeed(id)
    : Effect.fail(
      new Deviation({ expected: `${answer.request} to be accepted with a request_id`, got: wordsOf(answer) })
    )
}

/**
 * The result of a future that must not fail.
 *
 * @since 0.2.0
 * @category assertions
 */
export const done = (what: string, outcome: Outcome): Effect.Effect<Answer, Deviation> =>
  outcome._tag === "Done"
    ? Effect.succeed(outcome.answer)
    : Effect.fail(new Deviation({ expected: `${what} to succeed`, got: outcome.detail }))

const lackingOr = <A>(
  feature: string | undefined,
  status: number,
  detail: string,
  otherwise: Effect.Effect<A, Failure>
): Effect.Effect<A, Refusal> =>
  feature !== undefined && refuses(status) ? Effect.fail(new Lacking({ feature, detail })) : otherwise

/**
 * Whether a JSON body or a protobuf one, as the training result that it is.
 */
const passOf = (answer: Answer): Effect.Effect<Pass, Deviation> =>
  ForwardBackwardCodec.decodeOutput(answer.bytes).pipe(
    Effect.map((output): Pass => ({
      logprobs: output.lossFnOutputs.map((fields) => {
        const tensor = fields["logprobs"]
        return tensor === undefined ? [] : TensorData.toArray(tensor).map(Number)
      }),
      metrics: output.metrics,
      loss: output.metrics["loss:sum"]
    })),
    Effect.mapError((error) =>
      new Deviation({
        expected: "the result of a pass as protobuf, when protobuf is accepted",
        got: `${answer.headers["content-type"] ?? "no content type"} (${error.detail})`
      })
    )
  )

const defaults = { rank: 8, seed: 7, train_attn: true, train_mlp: true, train_unembed: true }

/**
 * A fresh model in the session of the peer.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (peer: Peer, lora: object = {}): Effect.Effect<Trainer, Failure> =>
  Effect.gen(function*() {
    const created = yield* peer.post("/create_model", {
      session_id: yield* peer.session,
      model_seq_id: peer.next(),
      base_model: peer.baseModel,
      lora_config: { ...defaults, ...lora },
      type: "create_model"
    })
    const answer = yield* done("create_model", yield* peer.outcome(yield* accepted(created)))
    const id = text(answer.json, "model_id")
    peer.made(id)
    return attach(peer, id)
  })

/**
 * A model that is there already; its first request has seq id 1.
 *
 * @since 0.2.0
 * @category constructors
 */
export const attach = (peer: Peer, id: string): Trainer => {
  let last = 0
  const seq = (): number => ++last

  const submitPass: Trainer["submitPass"] = (
    data,
    { config, forwardOnly = false, loss = "cross_entropy", seq: at } = {}
  ) =>
    ForwardBackwardCodec.encodeRequest({
      modelId: id,
      seqId: at ?? seq(),
      data,
      lossFn: loss,
      lossFnConfig: config,
      forwardOnly
    }).pipe(
      Effect.orDie, // the data of a check are well-formed
      Effect.flatMap((bytes) =>
        peer.post("/forward_backward", bytes, { "content-type": ForwardBackwardCodec.mediaType })
      )
    )

  const pass: Trainer["pass"] = (data, options = {}) =>
    Effect.gen(function*() {
      const answer = yield* submitPass(data, options)
      if (refuses(answer.status)) {
        return yield* lackingOr(
          options.feature,
          answer.status,
          wordsOf(answer),
          Effect.flatMap(accepted(answer), Effect.die)
        )
      }
      const outcome = yield* peer.outcome(yield* accepted(answer), { protobuf: true })
      if (outcome._tag === "Failed" && options.feature !== undefined) {
        return yield* new Lacking({ feature: options.feature, detail: outcome.detail })
      }
      return yield* passOf(yield* done("forward_backward", outcome))
    })

  const submitStep: Trainer["submitStep"] = (adam = {}, at) =>
    peer.post("/optim_step", {
      model_id: id,
      seq_id: at ?? seq(),
      adam_params: {
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0,
        grad_clip_norm: 0,
        ...adam
      },
      type: "optim_step"
    })

  const step: Trainer["step"] = (adam) =>
    Effect.gen(function*() {
      const answer = yield* done("optim_step", yield* peer.outcome(yield* accepted(yield* submitStep(adam))))
      const norm = field(answer.json, "metrics", "unclipped_grad_l2:mean")
      return typeof norm === "number" ? norm : undefined
    })

  const operate: Trainer["operate"] = (path, body = {}) =>
    Effect.gen(function*() {
      const answer = yield* peer.post(path, { model_id: id, seq_id: seq(), ...body })
      if (answer.status >= 400) {
        return { _tag: "Failed", status: answer.status, category: undefined, detail: wordsOf(answer) }
      }
      return yield* peer.outcome(yield* accepted(answer))
    })

  return {
    id,
    seq,
    submitPass,
    pass,
    submitStep,
    step,
    // with clipping on, servers tell the norm; so high a bound clips nothing
    norm: Effect.flatMap(step({ learning_rate: 0, grad_clip_norm: 1e9 }), (norm) =>
      norm === undefined
        ? Effect.fail(new Lacking({ feature: "gradient-norm", detail: "optim_step tells no unclipped_grad_l2:mean" }))
        : Effect.succeed(norm)),
    operate,
    sampler: Effect.gen(function*() {
      const outcome = yield* operate("/save_weights_for_sampler", {
        sampling_session_seq_id: peer.next(),
        type: "save_weights_for_sampler"
      })
      const answer = yield* done("save_weights_for_sampler", outcome)
      return samplerOf(peer, { sampling_session_id: text(answer.json, "sampling_session_id") })
    })
  }
}

/**
 * A sampler by what addresses it: a sampling session, a base model or a path.
 *
 * @since 0.2.0
 * @category constructors
 */
export const samplerOf = (peer: Peer, target: Readonly<Record<string, string>>): Sampler => {
  const submit: Sampler["submit"] = (prompt, params, more = {}) =>
    peer.post("/asample", {
      ...target,
      ...("sampling_session_id" in target ? { seq_id: peer.next() } : {}),
      num_samples: 1,
      prompt: { chunks: [{ type: "encoded_text", tokens: prompt }] },
      sampling_params: { temperature: 1, top_k: -1, top_p: 1, ...params },
      type: "sample",
      ...more
    })
  return {
    id: target["sampling_session_id"] ?? "",
    submit,
    sample: (prompt, params, { feature, ...more } = {}) =>
      Effect.gen(function*() {
        const answer = yield* submit(prompt, params, more)
        if (refuses(answer.status)) {
          return yield* lackingOr(feature, answer.status, wordsOf(answer), Effect.flatMap(accepted(answer), Effect.die))
        }
        const outcome = yield* peer.outcome(yield* accepted(answer), { protobuf: true })
        if (outcome._tag === "Failed" && feature !== undefined) {
          return yield* new Lacking({ feature, detail: outcome.detail })
        }
        const result = yield* done("asample", outcome)
        return yield* Effect.mapError(SampleCodec.decodeResponse(result.bytes), (error) =>
          new Deviation({
            expected: "the result of a sample as protobuf, when protobuf is accepted",
            got: `${result.headers["content-type"] ?? "no content type"} (${error.detail})`
          }))
      })
  }
}

/**
 * A sampler of the base model itself.
 *
 * @since 0.2.0
 * @category constructors
 */
export const ofBase = (peer: Peer): Effect.Effect<Sampler, Failure> =>
  Effect.gen(function*() {
    const answer = yield* peer.post("/create_sampling_session", {
      session_id: yield* peer.session,
      sampling_session_seq_id: peer.next(),
      base_model: peer.baseModel,
      type: "create_sampling_session"
    })
    const id = text(answer.json, "sampling_session_id")
    return id === ""
      ? yield* new Deviation({
        expected: "create_sampling_session to answer a sampling_session_id",
        got: wordsOf(answer)
      })
      : samplerOf(peer, { sampling_session_id: id })
  })
