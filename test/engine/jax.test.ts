import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import type { LoraConfig } from "../../src/engine/Engine.js"
import { makeRun } from "../../src/engine/run/run.js"
import { makeJax } from "./jaxModel.js"
import { tiny, tinyModel, tokensOf, wave } from "./models.js"

const check = async (lora: LoraConfig | null, count: number, length: number) => {
  const config = { ...tiny, maxContext: Math.max(tiny.maxContext, length) }
  const batch = {
    tokens: Array.from({ length: count }, (_, i) => tokensOf(length, i)),
    targets: Array.from({ length: count }, (_, i) => tokensOf(length, i + 5)),
    weights: Array.from({ length: count }, (_, i) => wave(length, i, 1, 0.5))
  }
  const request = {
    lossFn: "cross_entropy",
    lossConfig: {},
    backward: true,
    data: batch.tokens.map((tokens, i) => ({
      tokens,
      lossInputs: {
        target_tokens: { data: batch.targets[i]!, shape: [length] },
        weights: { data: batch.weights[i]!, shape: [length] }
      }
    }))
  }
  const model = tinyModel(1n, config)
  const run = Either.getOrThrow(makeRun(model, { baseModel: "tiny", lora }))
  if (lora !== null) {
    const state = run.exportState({ optimizer: false })
    const weights = state.weights.map((tensor, t) =>
      tensor.name.endsWith("lora_B.weight") ? { ...tensor, data: wave(tensor.data.length, t, 0.05) } : tensor
    )
    Either.getOrThrow(run.importState({ ...state, weights }, { optimizer: false }))
  }
  const jax = await makeJax(config, lora, batch)
  const base = model.kernels.floats(model.flat, model.layout.total).slice()
  const adapters = Float32Array.from(run.exportState({ optimizer: false }).weights.flatMap(({ data }) => [...data]))
  const theirs = await jax.evaluate(base, adapters)
  const { loss } = Either.getOrThrow(run.evaluate(request))
  const ours = run.gradients()
  assert.approximately(loss, theirs.loss, 1e-5 * Math.abs(loss))
  let offset = 0
  for (const { data, name } of run.exportState({ optimizer: false }).weights) {
    const end = offset + data.length
    const largest = ours.subarray(offset, end).reduce((top, x) => Math.max(top, Math.abs(x)), 0)
    for (; offset < end; offset++) {
      const error = Math.abs(ours[offset]! - theirs.gradient[offset]!) / largest
      if (!(error < 1e-5)) assert.fail(`${name}: entry differs by ${error} of the largest`)
    }
  }
}

const adapters: LoraConfig = { rank: 4, seed: 3, trainAttn: true, trainMlp: true, trainUnembed: true }

describe("gradients against the automatic differentiation of jax-js", () => {
  it("every entry of every adapter", () => check(adapters, 3, 11))
  it("every entry of every parameter", () => check(null, 3, 11))
  it("every entry over a sequence of many blocks", async () => {
    await check(adapters, 1, 300)
    await check(null, 1, 300)
  })
})
