/** Samplers. The way of a sample holds no fiber but the caller's, and waits for nothing but the gate. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
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
import type { Delivery } from "../transport/types.js"
import * as Persistence from "./persistence.js"
import { prepare, type Prepared } from "./sampleRequest.js"
import * as Submission from "./submission.js"

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
  const { cancel, handIn } = Submission.make(core, samplingSessionId, operation)
  const persistently = settings.samplingRetry.policy === "progress-timeout" && !core.config.sampleNoRetries
    ? Persistence.make(telemetry, settings.tenant, Duration.toMillis(settings.samplingRetry.progressTimeout))
    : identity
  const closed = () =>
    new Errors.ClientClosed({ operation, client: `sampling client ${samplingSessionId}`, certainlyNotSent: true })

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
        Effect.flatMap(handIn(prepared, seq, delivery), ({ requestId, sampleSequenceIds }) =>
          Effect.matchEffect(retrieve(requestId, startedAt), {
            onFailure: (error) =>
              error._tag === "FutureExpired" && left > 0
                ? once(prepared, seq, delivery, left - 1)
                : Effect.fail(error),
            onSuccess: (response) =>
              Effect.succeed(stamped(response, sampleSequenceIds))
          }))
    )

  const run = (prepared: Prepared): Effect.Effect<SampleResponse, TinkexError> =>
    Effect.flatMap(Monotonic.millis, (startedAt) => {
      const seq = counter.take()
      const delivery: Delivery = { maybe: false }
      return Effect.onExit(persistently(once(prepared, seq, delivery, resubmissions)), (exit) => {
        if (Exit.isFailure(exit)) {
          if (!delivery.maybe) counter.giveBack(seq)
          const error = failureOf(exit)
          return error === undefined ? Effect.void : Reports.failed(reporter, error)
        }
        if (!telemetry.enabled) return Effect.void
        const { sequences } = exit.value
        const tokens = sequences.reduce((sum, sequence) => sum + sequence.tokens.length, 0)
        return Effect.flatMap(Monotonic.millis, (now) =>
          telemetry.emit({
            _tag: "Sampled",
            samplerId: samplingSessionId,
            sequences: sequences.length,
            tokens,
            promptTokens: prepared.promptTokens,
            cachedTokens: exit.value.promptCacheHitTokens,
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
