/** Models in training. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import { pipeArguments } from "effect/Pipeable"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Datum from "../../protocol/Datum.js"
import * as ForwardBackwardCodec from "../../protocol/ForwardBackwardCodec.js"
import { OutputSchema } from "../../protocol/ForwardBackwardJson.js"
import { attempt, InvalidInput } from "../../protocol/InvalidInput.js"
import { combine } from "../../protocol/MetricReduction.js"
import { GetInfoResponse, UnloadModelResponse } from "../../protocol/Model.js"
import { shown } from "../../protocol/numbers.js"
import type { Known } from "../../protocol/options.js"
import { parse as parsePath } from "../../protocol/TinkerPath.js"
import {
  type AdamParams,
  adamParams,
  type ForwardBackwardOutput,
  type LossFn,
  type LossFnConfig,
  OptimStepRequest,
  OptimStepResponse
} from "../../protocol/Training.js"
import {
  LoadWeightsRequest,
  LoadWeightsResponse,
  SaveWeightsExternalRequest,
  SaveWeightsExternalResponse,
  SaveWeightsForSamplerRequest,
  SaveWeightsRequest,
  SaveWeightsResponse
} from "../../protocol/Weights.js"
import * as Zstd from "../../protocol/Zstd.js"
import * as ConcurrencyGate from "../../resilience/ConcurrencyGate.js"
import { ClientClosed, mayHaveArrived, type TinkexError } from "../../TinkexError.js"
import * as Future from "../Future.js"
import * as Futures from "../future/future.js"
import * as Polling from "../future/polling.js"
import * as QueueObserver from "../future/queueObserver.js"
import * as Monotonic from "../monotonic.js"
import * as Names from "../options.js"
import * as SamplingClient from "../sampling/samplingClient.js"
import type { Core } from "../service/core.js"
import type { Client, SaveOptions, TypeId as TrainingClientTypeId } from "../TrainingClient.js"
import { jsonBody } from "../transport/json.js"
import { submit } from "../transport/submit.js"
import type { Body, Delivery } from "../transport/types.js"
import * as Chunks from "./chunks.js"
import * as Methods from "./methods.js"
import { validateData } from "./validateData.js"

export const TypeId: TrainingClientTypeId = Symbol.for("tinkex/TrainingClient") as TrainingClientTypeId

const Proto = {
  ...Inspectable.BaseProto,
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  },
  toJSON(this: Client) {
    return { _id: "tinkex/TrainingClient", modelId: this.modelId, baseModel: this.baseModel }
  }
}

const results = {
  forward: Polling.resultType("Forward", OutputSchema, ForwardBackwardCodec.decodeOutput),
  forwardBackward: Polling.resultType("ForwardBackward", OutputSchema, ForwardBackwardCodec.decodeOutput),
  optimStep: Polling.resultType("OptimStep", OptimStepResponse),
  saveWeights: Polling.resultType("SaveWeights", SaveWeightsResponse),
  namedSave: Polling.resultType("SaveWeightsForSampler", Schema.Struct({ path: Schema.String })),
  unnamedSave: Polling.resultType(
    "SaveWeightsForSampler",
    Schema.Struct({
      samplingSessionId: Schema.propertySignature(Schema.String).pipe(Schema.fromKey("sampling_session_id"))
    })
  ),
  saveExternal: Polling.resultType("SaveWeightsExternal", SaveWeightsExternalResponse),
  loadWeights: Polling.resultType("LoadWeights", LoadWeightsResponse),
  unload: Polling.resultType("UnloadModel", UnloadModelResponse)
}

const encodeOptimStep = Schema.encodeSync(OptimStepRequest)
const encodeSave = Schema.encodeSync(SaveWeightsRequest)
const encodeSaveForSampler = Schema.encodeSync(SaveWeightsForSamplerRequest)
const encodeSaveExternal = Schema.encodeSync(SaveWeightsExternalRequest)
const encodeLoad = Schema.encodeSync(LoadWeightsRequest)

const refuse = (field: string, expected: string, actual: string): never => {
  throw new InvalidInput({ field, expected, actual })
}

const checkedAdam = (params: Partial<AdamParams> | undefined): AdamParams => {
  Names.adam(params)
  const adam = adamParams(params)
  for (const [field, value] of Object.entries<number>(adam as Readonly<Record<string, number>>)) { // all its fields are numbers
    if (!Number.isFinite(value)) refuse(field, "a finite number", shown(value))
    if (value < 0) refuse(field, "a number from 0", `${value}`)
  }
  for (const field of ["beta1", "beta2"] as const) {
    if (adam[field] >= 1) refuse(field, "a number below 1", `${adam[field]}`)
  }
  return adam
}

const checkedName = (name: string): string =>
  typeof name === "string" && name.trim() !== "" && !name.includes("/")
    ? name
    : refuse(
      "name",
      "a name without slashes",
      typeof name === "string" && name.includes("/") ? "one with a slash" : "none"
    )

const ttlSecondsOf = <O extends Pick<SaveOptions, "ttl">>(
  options: O | undefined,
  names: Known<O>
): number | undefined => {
  names(options)
  if (options?.ttl === undefined) return undefined
  const seconds = Duration.toSeconds(Option.getOrElse(Duration.decodeUnknown(options.ttl), () => Duration.zero))
  return Number.isSafeInteger(seconds) && seconds >= 1
    ? seconds
    : refuse("ttl", "a duration of whole seconds, from 1", shown(options.ttl))
}

const protobuf = (bytes: Uint8Array): Body => ({ bytes, contentType: ForwardBackwardCodec.mediaType })

const compressed = (bytes: Uint8Array): Effect.Effect<Body> =>
  Effect.map(Zstd.compress(bytes), (frame) => ({ ...protobuf(frame), contentEncoding: "zstd" }))

const present = <K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } =>
  value === undefined ? {} : { [key]: value } as { readonly [P in K]?: V } // the one key

/** Runs a send, or several, when their turn has come. */
interface InTurn {
  <A, E, R>(send: Effect.Effect<A, E, R>): Effect.Effect<A, E, R>
}

/** A model that exists at the service, until the scope closes. `firstSeqId` is what its first operation will carry. */
export const make = (
  core: Core,
  modelId: string,
  baseModel: string | undefined
): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { config, telemetry, transport } = core
    const name = `training client ${modelId}`
    const home = yield* Futures.makeHome(name)
    const observer = QueueObserver.make(telemetry, "training", modelId)
    const makeTurns = Effect.orDie(
      ConcurrencyGate.make(`${modelId}/turns`, { permits: 1, adaptive: false, pacing: "off" })
    )
    const limits = Chunks.limitsOf(core.limits, transport.settings.chunks)
    let lastSeq = 0
    let lastPass: Future.Future<unknown> | undefined
    let warnedOfGap = false
    let steps = 0
    let over: string | undefined
    let vocabSize: number | undefined
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        over ??= name
      })
    )

    const usable = (operation: string): Effect.Effect<void, ClientClosed> =>
      Effect.suspend(() =>
        over === undefined
          ? core.session.check(operation)
          : Effect.fail(new ClientClosed({ operation, client: over, certainlyNotSent: true }))
      )

    /** Hands out turns in the order of asking. A turn ends with its send, however that ends. */
    const turnsOf = (gate: ConcurrencyGate.ConcurrencyGate): InTurn => <A, E, R>(send: Effect.Effect<A, E, R>) =>
      // the gate does not limit its waiters, so that only the send's own failures are left
      Effect.catchIf(gate.withPermit(send), ConcurrencyGate.isGateFull, Effect.die) as Effect.Effect<A, E, R>

    interface Send<A> {
      readonly operation: string
      readonly path: string
      readonly result: Polling.ResultType<A>
      readonly body: (seqId: number) => Effect.Effect<Body, TinkexError>
      readonly weight?: number | undefined
      readonly onResult?: ((value: A, millis: number) => Effect.Effect<void>) | undefined
      readonly onUnsent?: (() => void) | undefined
      /** `false` for what has no place in the order of the model's operations. */
      readonly numbered?: false | undefined
    }

    /** Sends one request with the next number, inside a turn, and polls it once it is accepted. */
    const send = <A>(request: Send<A>): Effect.Effect<Future.Future<A>, TinkexError> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Monotonic.millis, (startedAt) => {
          const seqId = request.numbered === false ? 0 : ++lastSeq
          const delivery: Delivery = { maybe: false }
          return restore(
            Effect.flatMap(request.body(seqId), (body) =>
              submit(transport, {
                operation: request.operation,
                path: request.path,
                pool: "training",
                body,
                weight: request.weight,
                delivery
              }))
          ).pipe(
            Effect.onExit((exit) =>
              Effect.sync(() => {
                // nobody else can have taken a number in this turn
                if (Exit.isFailure(exit) && !delivery.maybe) {
                  if (request.numbered !== false) lastSeq--
                  request.onUnsent?.()
                }
              })
            ),
            Effect.flatMap(({ requestId }) =>
              Futures.start(core, home, {
                operation: request.operation,
                kind: "training",
                requestId,
                result: request.result,
                observer,
                startedAt
              }, request.onResult)
            )
          )
        })
      )

    const single = <A>(inTurn: InTurn, request: Send<A>): Effect.Effect<Future.Future<A>, TinkexError> =>
      Effect.zipRight(usable(request.operation), inTurn(Effect.zipRight(usable(request.operation), send(request))))

    /** The requests that the data make, if they are sound. */
    const checked = (data: ReadonlyArray<Datum.Datum>, lossFn: LossFn, lossFnConfig: LossFnConfig | undefined) =>
      attempt(() => {
        validateData(data, lossFn, lossFnConfig, { vocabSize, storedLosses: config.customLossServerSide })
        return Chunks.split(data, limits)
      })

    const pass = (inTurn: InTurn, forwardOnly: boolean) => {
      const operation = `${forwardOnly ? "forward" : "forward_backward"} (model ${modelId})`
      return (
        data: ReadonlyArray<Datum.Datum>,
        lossFn: LossFn,
        lossFnConfig?: LossFnConfig
      ): Effect.Effect<Future.Future<ForwardBackwardOutput>, TinkexError> =>
        usable(operation).pipe(
          Effect.zipRight(checked(data, lossFn, lossFnConfig)),
          Effect.flatMap((chunks) =>
            inTurn(Effect.zipRight(
              usable(operation),
              Effect.forEach(chunks, (chunk, i) =>
                Effect.mapError(
                  send({
                    operation,
                    path: "forward_backward",
                    result: forwardOnly ? results.forward : results.forwardBackward,
                    body: (seqId) =>
                      Effect.flatMap(
                        ForwardBackwardCodec.encodeRequest({
                          modelId,
                          seqId,
                          data: chunk,
                          lossFn,
                          lossFnConfig,
                          forwardOnly
                        }),
                        (bytes) => config.protoCompressFwdbwd ? compressed(bytes) : Effect.succeed(protobuf(bytes))
                      ),
                    onResult: forwardOnly || !telemetry.enabled ? undefined : (output) => reportPass(chunk, output)
                  }),
                  i === 0 ? identity : mayHaveArrived
                ))
            ))
          ),
          Effect.map((futures) => {
            const future = Future.map(Future.all(futures), combine)
            if (!forwardOnly) lastPass = future
            return future
          })
        )
    }

    const reportPass = (data: ReadonlyArray<Datum.Datum>, output: ForwardBackwardOutput) => {
      let tokens = 0
      let weight = 0
      for (const datum of data) {
        for (const chunk of datum.modelInput.chunks) if (chunk.type === "encoded_text") tokens += chunk.tokens.length
        const weights = datum.lossFnInputs["weights"]
        if (weights === undefined || weights.dtype !== "float32") weight = Number.NaN
        else for (let i = 0; i < weights.data.length; i++) weight += weights.data[i]!
      }
      const loss = output.metrics["loss:sum"]
      return telemetry.emit({
        _tag: "TrainingPass",
        modelId,
        examples: data.length,
        tokens,
        ...present("loss", loss),
        ...present("weight", Number.isNaN(weight) ? undefined : weight)
      })
    }

    /** Once: a program that waits between gradients and update leaves the service idle in between */
    const warnOfGap = Effect.suspend(() => {
      const gap = lastPass !== undefined && Futures.wasSeen(lastPass)
      lastPass = undefined
      if (!gap || warnedOfGap) return Effect.void
      warnedOfGap = true
      return Effect.logWarning(
        `${name}: optimStep was submitted after the result of forwardBackward had been awaited, so that the service waited for `
          + "the program; submit both, then await both (TrainingLoop.trainStep does)"
      )
    })

    const saveForSampler = <A>(
      inTurn: InTurn,
      result: Polling.ResultType<A>,
      fields: (seqId: number) => typeof SaveWeightsForSamplerRequest.Type,
      onUnsent?: () => void
    ) =>
      single(inTurn, {
        operation: `save_weights_for_sampler (model ${modelId})`,
        path: "save_weights_for_sampler",
        result,
        body: (seqId) => Effect.sync(() => jsonBody(encodeSaveForSampler({ ...fields(seqId), kind: "snapshot" }))),
        onUnsent
      })

    const snapshot = (inTurn: InTurn): Client["snapshot"] =>
      Effect.gen(function*() {
        let samplingSeq: number | undefined
        const future = yield* saveForSampler(
          inTurn,
          results.unnamedSave,
          (seqId) => ({ modelId, seqId, samplingSessionSeqId: samplingSeq ??= core.samplers.take() }),
          () => {
            if (samplingSeq !== undefined) core.samplers.giveBack(samplingSeq)
          }
        )
        return Effect.flatMap(
          Future.await(future),
          ({ samplingSessionId }) => SamplingClient.open(core, samplingSessionId, { baseModel })
        )
      })

    const getInfo: Client["getInfo"] = Effect.suspend(() =>
      transport.json({
        operation: `get_info (model ${modelId})`,
        method: "POST",
        path: "get_info",
        pool: "service",
        body: jsonBody({ model_id: modelId, type: "get_info" })
      }, GetInfoResponse)
    )

    const fieldsOf = (inTurn: InTurn): Omit<Client, keyof typeof Proto> => ({
      modelId,
      baseModel,
      check: (data, lossFn, config) => Effect.asVoid(checked(data, lossFn, config)),
      forward: pass(inTurn, true),
      forwardBackward: pass(inTurn, false),
      // The operations inside take turns among themselves, in the one turn that all of them have
      inOneTurn: (use) => inTurn(Effect.flatMap(makeTurns, (turns) => use(clientOf(turnsOf(turns))))),
      optimStep: (params) =>
        Effect.flatMap(Effect.zipLeft(attempt(() => checkedAdam(params)), warnOfGap), (adam) =>
          single(inTurn, {
            operation: `optim_step (model ${modelId})`,
            path: "optim_step",
            result: results.optimStep,
            body: (seqId) => Effect.sync(() => jsonBody(encodeOptimStep({ adamParams: adam, modelId, seqId }))),
            onResult: (_, durationMs) =>
              Effect.suspend(() => telemetry.emit({ _tag: "TrainingStep", modelId, step: ++steps, durationMs }))
          })),
      saveState: (name, options) =>
        Effect.flatMap(
          attempt(() => ({ path: checkedName(name), ttlSeconds: ttlSecondsOf(options, Names.saveState) })),
          ({ path, ttlSeconds }) =>
            single(inTurn, {
              operation: `save_weights (model ${modelId}, ${path})`,
              path: "save_weights",
              result: results.saveWeights,
              body: (seqId) =>
                Effect.sync(() =>
                  jsonBody(encodeSave({
                    modelId,
                    seqId,
                    path,
                    overwrite: options?.overwrite ?? false,
                    ...present("ttlSeconds", ttlSeconds),
                    ...present("userMetadata", options?.userMetadata)
                  }))
                )
            })
        ),
      loadState: (path, options) =>
        Effect.zipRight(
          Effect.tap(Effect.zipRight(attempt(() => Names.loadState(options)), parsePath(path)), () => {
            if (options?.weightsAccessToken !== undefined) core.transport.redact.learn(options.weightsAccessToken)
          }),
          single(inTurn, {
            operation: `load_weights (model ${modelId}, ${path})`,
            path: "load_weights",
            result: results.loadWeights,
            body: (seqId) =>
              Effect.sync(() =>
                jsonBody(encodeLoad({
                  modelId,
                  seqId,
                  path,
                  optimizer: options?.optimizer ?? false,
                  ...present("weightsAccessToken", options?.weightsAccessToken)
                }))
              )
          })
        ),
      saveWeightsForSampler: (name, options) =>
        Effect.flatMap(
          attempt(() => ({ path: checkedName(name), ttlSeconds: ttlSecondsOf(options, Names.saveWeightsForSampler) })),
          ({ path, ttlSeconds }) =>
            saveForSampler(inTurn, results.namedSave, (seqId) => ({
              modelId,
              seqId,
              path,
              ...present("ttlSeconds", ttlSeconds),
              ...present("userMetadata", options?.userMetadata)
            }))
        ),
      saveWeightsExternal: (name, options) =>
        Effect.flatMap(
          attempt(() => ({ path: checkedName(name), ttlSeconds: ttlSecondsOf(options, Names.saveWeightsExternal) })),
          ({ path, ttlSeconds }) =>
            single(inTurn, {
              operation: `save_weights_external (model ${modelId}, ${path})`,
              path: "save_weights_external",
              result: results.saveExternal,
              body: (seqId) =>
                Effect.sync(() =>
                  jsonBody(encodeSaveExternal({
                    modelId,
                    seqId,
                    path,
                    ...present("ttlSeconds", ttlSeconds),
                    ...present("ageEncryptionRecipients", options?.ageEncryptionRecipients)
                  }))
                )
            })
        ),
      snapshot: snapshot(inTurn),
      saveWeightsAndGetSamplingClient: Effect.flatten(snapshot(inTurn)),
      getInfo,
      tokenizer: Effect.flatMap(getInfo, (info) =>
        Effect.tap(
          core.tokenizers.get({
            modelName: info.modelData.modelName ?? info.modelName ?? baseModel ?? "",
            tokenizerId: info.modelData.tokenizerId
          }),
          (tokenizer) => {
            vocabSize = tokenizer.vocabSize
          }
        )),
      unload: Effect.map(
        Effect.tap(
          single(inTurn, {
            operation: `unload_model (model ${modelId})`,
            path: "unload_model",
            result: results.unload,
            numbered: false,
            body: () => Effect.sync(() => jsonBody({ model_id: modelId, type: "unload_model" }))
          }),
          () => {
            over = `${name}, which was unloaded,`
          }
        ),
        Future.map(() => undefined)
      )
    })
    const clientOf = (inTurn: InTurn): Client =>
      Methods.tellTo(
        Object.assign(Object.create(Proto), Methods.inSpans(fieldsOf(inTurn), transport.settings)),
        telemetry
      )
    return clientOf(turnsOf(yield* makeTurns))
  })
