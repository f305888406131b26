/** Samplers. The way of a sample holds no fiber but the caller's, and waits for nothing but the gate. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { attributes } from "../../observability/Spans.js"
import { attempt, InvalidInput } from "../../protocol/InvalidInput.js"
import * as SampleCodec from "../../protocol/SampleCodec.js"
import { type SampleResponse, SampleResponseSchema, toNullable } from "../../protocol/Sampling.js"
import { CreateSamplingSessionResponse, GetSamplerResponse } from "../../protocol/Session.js"
import { encodeId, parse as parsePath } from "../../protocol/TinkerPath.js"
import type { TinkexError } from "../../TinkexError.js"
import * as Errors from "../../TinkexError.js"
import { failureOf } from "../future/exits.js"
import * as Poll from "../future/poll.js"
import * as Polling from "../future/polling.js"
import * as QueueObserver from "../future/queueObserver.js"
import { methodSpan, tokensIn } from "../methodSpans.js"
import * as Monotonic from "../monotonic.js"
import * as Names from "../options.js"
import * as Reports from "../reporting/reports.js"
import type { Client, ModelOptions, SampleOptions, TypeId as SamplingClientTypeId } from "../SamplingClient.js"
import type { Entry } from "../SamplingRegistry.js"
import { type Core, makeCounter } from "../service/core.js"
import { jsonBody } from "../transport/json.js"
import { submit } from "../transport/submit.js"
import type { Delivery } from "../transport/types.js"
import { prepare, type Prepared } from "./sampleRequest.js"

export const TypeId: SamplingClientTypeId = Symbol.for("tinkex/SamplingClient") as SamplingClientTypeId

const result = Polling.resultType("Sample", SampleResponseSchema, SampleCodec.decodeResponse)

const Proto = {
  ...Inspectable.BaseProto,
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  },
  toJSON(this: Client) {
    return { _id: "tinkex/SamplingClient", id: this.id, samplingSessionId: this.samplingSessionId, model: this.model }
  }
}

/** A result that the service has lost is asked for again so often. */
const resubmissions = 3

const stamped = (response: SampleResponse, ids: ReadonlyArray<string> | undefined): SampleResponse =>
  ids === undefined ? response : {
    ...response,
    sequences: response.sequences.map((sequence, i) =>
      ids[i] === undefined ? sequence : { ...sequence, sequenceId: ids[i] }
    )
  }

/** A sampler of a sampling session, registered until the scope closes. */
export const open = (
  core: Core,
  samplingSessionId: string,
  model: Client["model"]
): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.map(
    core.registry.register((id) => {
      const counter = makeCounter()
      const entry: Entry = {
        id,
        samplingSessionId,
        settings: core.transport.settings,
        limiter: core.transport.limiter,
        nextSeqId: Effect.sync(() => counter.current),
        client: make(core, id, samplingSessionId, model, counter)
      }
      return entry
    }),
    (entry) => entry.client
  )

/** What the span of a sample says of it; the options may be anything yet. */
const attributesOf = (samplerId: string, options: SampleOptions | undefined): Readonly<Record<string, unknown>> => ({
  [attributes.samplerId]: samplerId,
  [attributes.promptTokens]: tokensIn(options?.prompt),
  [attributes.numSamples]: options?.numSamples ?? 1,
  [attributes.maxTokens]: options?.maxTokens
})

const countOf = ({ sequences }: SampleResponse): Readonly<Record<string, unknown>> => ({
  [attributes.tokens]: sequences.reduce((sum, { tokens }) => sum + tokens.length, 0)
})

/** Asks the service for a sampling session, and opens a sampler of it. */
export const create = (core: Core, options: ModelOptions): Effect.Effect<Client, TinkexError, Scope.Scope> =>
  Effect.gen(function*() {
    yield* attempt(() => Names.model(options ?? {}))
    const { baseModel, modelPath } = options
    const operation = `create_sampling_session (${modelPath ?? baseModel})`
    if (modelPath !== undefined) {
      yield* parsePath(modelPath, "modelPath")
    } else if (typeof baseModel !== "string" || baseModel.trim() === "") {
      return yield* new InvalidInput({
        field: "baseModel",
        expected: "the name of a model, or a modelPath",
        actual: "none"
      })
    }
    yield* core.session.check(operation)
    const seq = core.samplers.take()
    const delivery: Delivery = { maybe: false }
    const { samplingSessionId } = yield* core.transport.json({
      operation,
      method: "POST",
      path: "create_sampling_session",
      pool: "session",
      delivery,
      body: jsonBody({
        session_id: core.session.id,
        sampling_session_seq_id: seq,
        base_model: baseModel,
        model_path: modelPath,
        type: "create_sampling_session"
      })
    }, CreateSamplingSessionResponse).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit) && !delivery.maybe) core.samplers.giveBack(seq)
        })
      )
    )
    return yield* open(core, samplingSessionId, options)
  })

const make = (
  core: Core,
  id: string,
  samplingSessionId: string,
  model: Client["model"],
  counter: ReturnType<typeof makeCounter>
): Client => {
  const { registry, reporter, telemetry, transport } = core
  const { settings } = transport
  const observer = QueueObserver.make(telemetry, "sampling", samplingSessionId)
  const operation = `sample (sampling session ${samplingSessionId})`
  const policy = core.config.sampleNoRetries ? "none" : settings.samplingRetry.policy
  const closed = () =>
    new Errors.ClientClosed({ operation, client: `sampling client ${samplingSessionId}`, certainlyNotSent: true })

  const cancel = (requestId: string): Effect.Effect<void> =>
    core.dynamic.current.sampleCancelEnabled
      ? transport.send({
        operation: `cancel_future (request ${requestId})`,
        method: "POST",
        path: "cancel_future",
        pool: "futures",
        times: 0,
        body: jsonBody({ request_id: requestId })
      }).pipe(Effect.ignore, Effect.interruptible, Effect.forkIn(core.scope), Effect.asVoid)
      : Effect.void

  const submission = (prepared: Prepared, seq: number, delivery: Delivery) =>
    submit(transport, {
      operation,
      path: "asample",
      pool: "sampling",
      times: policy === "standard" ? undefined : 0,
      weight: prepared.weight,
      headers: sampleHeaders,
      delivery,
      body: jsonBody(prepared.toJson(samplingSessionId, seq))
    })

  /**
   * Who goes away while a sample is handed in that may have arrived leaves a fiber behind: handed in once more under its number it is
   * the same request, whose id is then known and cancelled.
   */
  const handedIn = (prepared: Prepared, seq: number, delivery: Delivery) =>
    Effect.onInterrupt(
      submission(prepared, seq, delivery),
      () =>
        delivery.maybe && core.dynamic.current.sampleCancelEnabled
          ? Effect.asVoid(Effect.forkIn(
            Effect.interruptible(Effect.ignore(
              Effect.flatMap(submission(prepared, seq, delivery), ({ requestId }) => cancel(requestId))
            )),
            core.scope
          ))
          : Effect.void
    )

  const retrieve = (requestId: string, startedAt: number): Effect.Effect<SampleResponse, TinkexError> =>
    Effect.flatMap(Monotonic.millis, (now) => {
      const accepted = { operation, kind: "sampling" as const, requestId, result, observer, startedAt }
      const polling = Polling.makePolling(accepted, now)
      const outstanding = { describe: (at: number) => Polling.describe(polling, at) }
      core.outstanding.add(outstanding)
      return Effect.onExit(Poll.poll(core, accepted, polling), (exit) => {
        core.outstanding.delete(outstanding)
        return Exit.isInterrupted(exit) ? cancel(requestId) : Effect.void
      })
    })

  const once = (
    prepared: Prepared,
    seq: number,
    delivery: Delivery,
    left: number
  ): Effect.Effect<SampleResponse, TinkexError> =>
    Effect.flatMap(
      Monotonic.millis,
      (startedAt) =>
        Effect.flatMap(handedIn(prepared, seq, delivery), ({ requestId, sampleSequenceIds }) =>
          Effect.matchEffect(retrieve(requestId, startedAt), {
            onFailure: (error) =>
              error._tag === "FutureExpired" && left > 0
                ? once(prepared, seq, delivery, left - 1)
                : Effect.fail(error),
            onSuccess: (response) =>
              Effect.succeed(stamped(response, sampleSequenceIds))
          }))
    )

  /** When a sample of this client last succeeded, or the first of those that wait now began to. */
  let progressAt = 0
  let waiting = 0

  /** Again and again while samples of this client succeed now and then (docs/protocol/sampling.md#load). */
  const persistently = (
    self: Effect.Effect<SampleResponse, TinkexError>,
    patience: number
  ): Effect.Effect<SampleResponse, TinkexError> => {
    const loop = (n: number): Effect.Effect<SampleResponse, TinkexError> =>
      Effect.matchEffect(self, {
        onSuccess: (response) =>
          Effect.map(Monotonic.millis, (now) => {
            progressAt = now
            return response
          }),
        onFailure: (error) => {
          const { retry } = Errors.disposition(error, "sampling")
          if (retry._tag === "No" && error._tag !== "CircuitOpen") return Effect.fail(error)
          return Effect.flatMap(Effect.zip(Random.nextRange(0.75, 1.25), Monotonic.millis), ([u, now]) => {
            const drawn = Math.min(10_000, u * Math.min(10_000, 500 * 2 ** n))
            const asked = retry._tag === "After" ? Duration.toMillis(retry.delay) : 0
            const delayMs = Math.ceil(Math.max(drawn, asked))
            return now + delayMs - progressAt >= patience
              ? Effect.fail(error)
              : Effect.zipRight(
                telemetry.emit({
                  _tag: "Retry",
                  route: "/api/v1/asample",
                  operation: "sampling",
                  tenant: settings.tenant.label,
                  attempt: n,
                  delayMs,
                  reason: "status" in error && error.status !== undefined ? `${error.status}` : error._tag
                }),
                Effect.zipRight(Effect.sleep(delayMs), loop(n + 1))
              )
          })
        }
      })
    return Effect.flatMap(Monotonic.millis, (now) => {
      if (waiting++ === 0) progressAt = now
      return Effect.ensuring(
        loop(0),
        Effect.sync(() => {
          waiting--
        })
      )
    })
  }

  const run = (prepared: Prepared): Effect.Effect<SampleResponse, TinkexError> =>
    Effect.flatMap(Monotonic.millis, (startedAt) => {
      const seq = counter.take()
      const delivery: Delivery = { maybe: false }
      const self = once(prepared, seq, delivery, resubmissions)
      const { samplingRetry } = settings
      const tried = policy === "progress-timeout" && samplingRetry.policy === "progress-timeout"
        ? persistently(self, Duration.toMillis(samplingRetry.progressTimeout))
        : self
      return Effect.onExit(tried, (exit) => {
        if (Exit.isFailure(exit)) {
          if (!delivery.maybe) counter.giveBack(seq)
          const error = failureOf(exit)
          return error === undefined ? Effect.void : Reports.failed(reporter, error)
        }
        if (!telemetry.enabled) return Effect.void
        const { sequences } = exit.value
        let tokens = 0
        for (const sequence of sequences) tokens += sequence.tokens.length
        return Effect.flatMap(Monotonic.millis, (now) =>
          telemetry.emit({
            _tag: "Sampled",
            samplerId: samplingSessionId,
            sequences: sequences.length,
            tokens,
            promptTokens: prepared.promptTokens,
            durationMs: now - startedAt
          }))
      })
    })

  const drawn: Client["sample"] = (options) =>
    Effect.suspend(() =>
      registry.get(id) === undefined
        ? Effect.fail(closed())
        : Effect.flatMap(attempt(() => prepare(options)), run)
    )
  const span = methodSpan(settings)
  const sample: Client["sample"] = settings.tracing
    ? (options) =>
      span("SamplingClient.sample", () => attributesOf(samplingSessionId, options), drawn(options), countOf)
    : drawn

  const getInfo: Client["getInfo"] = Effect.suspend(() =>
    transport.json({
      operation: `get_sampler (${samplingSessionId})`,
      method: "GET",
      path: `samplers/${encodeId(samplingSessionId)}`,
      route: "samplers/{sampler_id}",
      pool: "service"
    }, GetSamplerResponse)
  )

  const fields: Omit<Client, keyof typeof Proto> = {
    id,
    samplingSessionId,
    model,
    sample,
    computeLogprobs: (prompt, options = {}) =>
      Effect.flatMap(
        Effect.zipRight(
          attempt(() => Names.computeLogprobs(options)),
          sample({ prompt, maxTokens: 1, promptLogprobs: true, promptLogprobsLastN: options.lastN })
        ),
        ({ promptLogprobs }) =>
          promptLogprobs === undefined
            ? Effect.fail(
              new Errors.MalformedResponse({ operation, detail: "it has no log-probabilities of the prompt" })
            )
            : Effect.succeed(toNullable(promptLogprobs))
      ),
    getInfo,
    tokenizer: Effect.flatMap(
      model.baseModel === undefined
        ? Effect.map(getInfo, ({ baseModel }) => baseModel)
        : Effect.succeed(model.baseModel),
      (modelName) => core.tokenizers.get({ modelName })
    )
  }
  return Object.assign(Object.create(Proto), fields)
}

const sampleHeaders = { "x-tinker-sampling-backpressure": "1" }
