import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import type { Datum, LoraConfig, PassRequest } from "../../src/engine/Engine.js"
import { loraLayout } from "../../src/engine/model/lora.js"
import type { ModelConfig } from "../../src/engine/model/modelConfig.js"
import { weightLayout } from "../../src/engine/model/weights.js"
import { makeWorkspace } from "../../src/engine/model/workspace.js"
import { makeRun, type Run } from "../../src/engine/run/run.js"
import { families, tiny, tinyModel, tokensOf, wave } from "./models.js"
import { logProbabilities, type Weights, weightsFromFlat } from "./reference.js"

const floats = (values: ArrayLike<number>) => ({ data: Float32Array.from(values), shape: [values.length] })
const ints = (values: Int32Array) => ({ data: values, shape: [values.length] })

const lengths = [7, 12]

/** One request of each loss over two ragged datums; some ratios fall outside the clip bounds. */
const requests: Record<string, PassRequest> = (() => {
  const request = (
    lossFn: string,
    lossConfig: Record<string, number>,
    inputs: (length: number, seed: number) => Datum["lossInputs"]
  ): PassRequest => ({
    lossFn,
    lossConfig,
    backward: true,
    data: lengths.map((length, i) => ({
      tokens: tokensOf(length, i),
      lossInputs: { target_tokens: ints(tokensOf(length, i + 10)), ...inputs(length, i) }
    }))
  })
  const policy = (length: number, seed: number) => ({
    logprobs: floats(wave(length, seed, 0.8, -4)),
    advantages: floats(wave(length, seed + 1, 1.5, 0.1))
  })
  const k = 3
  return {
    cross_entropy: request("cross_entropy", {}, (length, seed) => ({ weights: floats(wave(length, seed, 1, 0.4)) })),
    "cross_entropy (N, K)": request("cross_entropy", {}, (length, seed) => ({
      target_tokens: { data: tokensOf(length * k, seed + 20), shape: [length, k] },
      weights: { data: wave(length * k, seed, 0.7, 0.2), shape: [length, k] }
    })),
    importance_sampling: request("importance_sampling", {}, policy),
    ppo: request("ppo", {}, policy),
    cispo: request("cispo", { clip_low_threshold: 0.5, clip_high_threshold: 1.5 }, policy),
    "ppo with bounds per token": request("ppo", {}, (length, seed) => ({
      ...policy(length, seed),
      clip_low_threshold: floats(wave(length, seed, 0.2, 0.7)),
      clip_high_threshold: floats(wave(length, seed, 0.2, 1.3))
    })),
    dro: request("dro", {}, policy),
    // The second datum's ratio lies beyond the upper bound.
    gspo: request("gspo", { clip_low_threshold: 0.2, clip_high_threshold: 1.5 }, (length, seed) => ({
      ...policy(length, seed),
      sequence_ratio_mask: floats(wave(length, seed, 0.5, 0.5))
    }))
  }
})()

/**
 * The loss of a request in double precision, straight from the formulas. `frozen` are the log-probabilities at
 * which the ratios of cispo and gspo are held constant.
 */
const referenceLoss = (
  config: ModelConfig,
  request: PassRequest,
  weights: Weights,
  frozen?: ReadonlyArray<ReadonlyArray<number>>
): { loss: number; logprobs: Array<Array<number>> } => {
  let loss = 0
  const logprobs = request.data.map(({ lossInputs, tokens }, d) => {
    const all = logProbabilities(config, weights, tokens)
    const targets = lossInputs["target_tokens"]!
    const k = targets.shape[1] ?? 1
    const held = frozen?.[d] ?? Array.from(targets.data, (target, e) => all[Math.floor(e / k)]![target]!)
    const mask = Array.from(lossInputs["sequence_ratio_mask"]?.data ?? [])
    const mean = mask.reduce((sum, m, e) => sum + m * (held[e]! - lossInputs["logprobs"]!.data[e]!), 0) /
      mask.reduce((sum, m) => sum + m, 0)
    return Array.from(targets.data, (target, e) => {
      const lp = all[Math.floor(e / k)]![target]!
      const read = (key: string, absent: number) => lossInputs[key]?.data[e] ?? request.lossConfig[key] ?? absent
      const a = read("advantages", 0)
      const q = read("logprobs", 0)
      const ratio = Math.exp(lp - q)
      const clip = (r: number, low: number, high: number) =>
        Math.min(Math.max(r, read("clip_low_threshold", low)), read("clip_high_threshold", high))
      switch (request.lossFn) {
        case "cross_entropy":
          loss -= read("weights", 1) * lp
          break
        case "importance_sampling":
          loss -= ratio * a
          break
        case "ppo":
          loss -= Math.min(ratio * a, clip(ratio, 0.8, 1.2) * a)
          break
        case "cispo":
          loss -= clip(Math.exp((frozen?.[d]![e] ?? lp) - q), 0, 4) * lp * a
          break
        case "gspo": {
          const s = Math.exp(mean + lp - held[e]!)
          loss -= Math.min(s * a, clip(s, 0.9997, 1.0004) * a)
          break
        }
        case "dro":
          loss -= lp * a - 0.05 / 2 * (lp - q) ** 2
      }
      return lp
    })
  })
  return { loss, logprobs }
}

const allTargets: LoraConfig = { rank: 4, seed: 7, trainAttn: true, trainMlp: true, trainUnembed: true }

const modelOf = (config: ModelConfig, mostKept?: number) => {
  const model = tinyModel(1n, config)
  return { ...model, workspace: makeWorkspace(model.kernels, config, mostKept) }
}

/** A run whose adapters are not fresh, so that A's have a gradient as well. */
const loraRun = (lora = allTargets, config = tiny, mostKept?: number): Run => {
  const run = Either.getOrThrow(makeRun(modelOf(config, mostKept), { baseModel: "tiny", lora }))
  const state = run.exportState({ optimizer: false })
  const weights = state.weights.map((tensor, t) =>
    tensor.name.endsWith("lora_B.weight") ? { ...tensor, data: wave(tensor.data.length, t, 0.05) } : tensor
  )
  Either.getOrThrow(run.importState({ ...state, weights }, { optimizer: false }))
  return run
}

const fullRun = (config = tiny, mostKept?: number): Run =>
  Either.getOrThrow(makeRun(modelOf(config, mostKept), { baseModel: "tiny", lora: null }))

const flatWeights = (run: Run): Float64Array =>
  Float64Array.from(run.exportState({ optimizer: false }).weights.flatMap(({ data }) => [...data]))

/** Base weights with adapters merged, in double precision. A tied head is then a matrix of its own. */
const merged = (run: Run, adapters: ArrayLike<number>): Weights => {
  const { config, flat, kernels, layout } = run.model
  const weights = weightsFromFlat(config, kernels.floats(flat, layout.total))
  weights["lm_head.weight"] ??= weights["model.embed_tokens.weight"]!.slice()
  const lora = loraLayout(config, run.lora!)
  const range = new Map(lora.tensors.map((tensor) => [tensor.name, tensor]))
  for (const [name, base] of Object.entries(weights)) {
    const a = range.get(`base_model.model.${name.replace(".weight", ".lora_A.weight")}`)
    const b = range.get(`base_model.model.${name.replace(".weight", ".lora_B.weight")}`)
    if (a === undefined || b === undefined) continue
    const input = a.shape[1]!
    for (let i = 0; i < base.length; i++) {
      for (let r = 0; r < lora.rank; r++) {
        base[i]! += 32 / lora.rank * adapters[b.offset + Math.floor(i / input) * lora.rank + r]! *
          adapters[a.offset + r * input + i % input]!
      }
    }
  }
  return weights
}

/** Compares every tensor's gradient with central differences at a few coordinates, against the tensor's largest entry. */
const checkGradients = (run: Run, request: PassRequest, coordinates: number): void => {
  const passed = Either.getOrThrow(run.evaluate(request))
  const gradients = run.gradients()
  const parameters = flatWeights(run)
  const { config } = run.model
  const base = (flat: Float64Array) => run.lora === null ? weightsFromFlat(config, flat) : merged(run, flat)
  const at = referenceLoss(config, request, base(parameters))
  assert.approximately(passed.loss, at.loss, 1e-4 * Math.max(1, Math.abs(at.loss)))
  passed.outputs.forEach(({ logprobs }, d) =>
    logprobs.forEach((lp, e) => assert.approximately(lp, at.logprobs[d]![e]!, 2e-5))
  )
  const { tensors } = run.lora === null ? weightLayout(config) : loraLayout(config, run.lora)
  for (const { length, name, offset } of tensors) {
    const own = gradients.subarray(offset, offset + length)
    const largest = own.reduce((top, x) => Math.max(top, Math.abs(x)), 0)
    assert.isAbove(largest, 0, name)
    const biggest = own.findIndex((x) => Math.abs(x) === largest)
    for (let c = 0; c < coordinates; c++) {
      const i = offset + (c === 0 ? biggest : (c * 7919 + offset) % length)
      const step = 1e-5
      const kept = parameters[i]!
      parameters[i] = kept + step
      const up = referenceLoss(config, request, base(parameters), at.logprobs).loss
      parameters[i] = kept - step
      const down = referenceLoss(config, request, base(parameters), at.logprobs).loss
      parameters[i] = kept
      const error = Math.abs((up - down) / (2 * step) - gradients[i]!) / largest
      assert.isBelow(error, 1e-4, `${name}[${i - offset}]`)
    }
  }
}

describe("gradients against central differences in double precision", () => {
  for (const [name, request] of Object.entries(requests)) {
    it(`${name}, every adapter`, () => {
      checkGradients(loraRun(), request, 2)
    })
    it(`${name}, every parameter`, () => {
      checkGradients(fullRun(), request, 2)
    })
  }
  for (const [name, config] of Object.entries(families)) {
    it(`cross_entropy, every adapter of a ${name} model`, () => {
      checkGradients(loraRun(allTargets, config), requests["cross_entropy"]!, 2)
    })
    it(`cross_entropy, every parameter of a ${name} model`, () => {
      checkGradients(fullRun(config), requests["cross_entropy"]!, 2)
    })
  }
  it("has the same bits when activations are computed twice instead of kept", () => {
    const makers = [
      (mostKept?: number) => loraRun(allTargets, tiny, mostKept),
      (mostKept?: number) => fullRun(tiny, mostKept)
    ]
    for (const make of makers) {
      const gradients = [undefined, 0].map((mostKept) => {
        const run = make(mostKept)
        Either.getOrThrow(run.evaluate(requests["cross_entropy"]!))
        return run.gradients()
      })
      assert.deepStrictEqual(gradients[1], gradients[0])
    }
  })
  for (const flag of ["trainAttn", "trainMlp", "trainUnembed"] as const) {
    it(`cross_entropy, adapters of ${flag} alone`, () => {
      const none = { ...allTargets, trainAttn: false, trainMlp: false, trainUnembed: false }
      checkGradients(loraRun({ ...none, [flag]: true }), requests["cross_entropy"]!, 2)
    })
  }
})
