/** Files that are damaged or made to harm: refused with a reason, never with a crash, a hang or a huge allocation. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll } from "vitest"
import type { ByteSource } from "../../../src/engine/files/byteReader.js"
import { readGguf } from "../../../src/engine/files/gguf.js"
import * as ModelFiles from "../../../src/engine/files/ModelFiles.js"
import { Problem } from "../../../src/engine/files/problem.js"
import { readSafetensors } from "../../../src/engine/files/safetensors.js"
import * as InProcessEngine from "../../../src/engine/host/InProcessEngine.js"

const checkpoints = fileURLToPath(new URL("./fixtures/checkpoints", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "tinkex-hostile-"))
afterAll(() => rmSync(folder, { recursive: true }))

const deep = process.env["TINKEX_DEEP"] === "1"
const runs = { numRuns: deep ? 20_000 : 2_000, seed: 11 }

/** Bytes as a file; a read beyond its end fails the test. */
const sourceOf = (bytes: Uint8Array): ByteSource => ({
  size: bytes.length,
  read: (offset, length) => {
    if (offset < 0 || offset + length > bytes.length) throw new Error(`read of ${length} at ${offset}`)
    return bytes.slice(offset, offset + length)
  }
})

/** What a parser says of bytes: nothing, or the reason. Anything but a `Problem` fails the test. */
const verdict = (parse: () => unknown): string | undefined => {
  try {
    parse()
    return undefined
  } catch (error) {
    if (error instanceof Problem) return error.detail
    throw error
  }
}

const gguf = new Uint8Array(readFileSync(`${checkpoints}/gguf-qwen3-q5_1/model.gguf`))
const safetensors = new Uint8Array(readFileSync(`${checkpoints}/qwen3/model.safetensors`))
const parsers: ReadonlyArray<
  readonly [name: string, bytes: Uint8Array, headerBytes: number, parse: (bytes: Uint8Array) => unknown]
> = [
  ["GGUF", gguf, 9_000, (bytes) => readGguf("x", sourceOf(bytes))],
  ["safetensors", safetensors, 2_600, (bytes) => readSafetensors("x", sourceOf(bytes), () => true)]
]

for (const [name, whole, headerBytes, parse] of parsers) {
  describe(`a ${name} header`, () => {
    it("is read when it is whole", () => assert.isUndefined(verdict(() => parse(whole))))

    it("is refused wherever it is cut off", () => {
      for (let length = 0; length < headerBytes; length += deep ? 1 : 7) {
        assert.isString(verdict(() => parse(whole.slice(0, length))), `${length} bytes`)
      }
    })

    it("with any bytes changed is read or refused", () =>
      FastCheck.assert(
        FastCheck.property(
          FastCheck.array(FastCheck.tuple(FastCheck.nat(headerBytes - 1), FastCheck.nat(255)), {
            minLength: 1,
            maxLength: 6
          }),
          (changes) => {
            const bytes = whole.slice()
            for (const [at, value] of changes) bytes[at] = value
            verdict(() => parse(bytes))
          }
        ),
        runs
      ))

    it("with any eight bytes made a huge count is read or refused, and no more is read than there is", () => {
      for (let at = 0; at + 8 <= headerBytes; at += deep ? 1 : 13) {
        for (const count of [2n ** 64n - 1n, 2n ** 53n, 2n ** 40n, 2n ** 31n]) {
          const bytes = whole.slice()
          new DataView(bytes.buffer).setBigUint64(at, count, true)
          verdict(() => parse(bytes))
        }
      }
    })
  })
}

describe("GGUF files", () => {
  const changed = (at: number, value: number): Uint8Array => {
    const bytes = gguf.slice()
    new DataView(bytes.buffer).setUint32(at, value, true)
    return bytes
  }
  const told = (bytes: Uint8Array) => verdict(() => readGguf("x", sourceOf(bytes)))

  it("say what is wrong", () => {
    assert.strictEqual(told(changed(0, 0)), "it is no GGUF file")
    assert.include(told(changed(4, 1)), "of version 1; versions 2 and 3 are read")
    assert.include(told(changed(4, 0x03000000)), "big-endian")
    assert.include(told(changed(8, 60_000)), "the number of tensors is 60000, which the")
    assert.include(told(changed(12, 1)), "the number of tensors is 4294967321, more than")
    assert.include(told(gguf.slice(0, gguf.length - 1)), "ends beyond the file")
  })
})

const open = (path: string) => Effect.either(ModelFiles.open(path, { name: "m" }))

/** A copy of a checkpoint with one of its files replaced. */
const withFile = (checkpoint: string, file: string, contents: string | Uint8Array): string => {
  const copy = mkdtempSync(join(folder, `${checkpoint}-`))
  mkdirSync(copy, { recursive: true })
  for (const name of readdirSync(`${checkpoints}/${checkpoint}`)) {
    copyFileSync(`${checkpoints}/${checkpoint}/${name}`, join(copy, name))
  }
  writeFileSync(join(copy, file), contents)
  return copy
}

const config = (checkpoint: string, change: object): string =>
  withFile(
    checkpoint,
    "config.json",
    JSON.stringify({ ...JSON.parse(readFileSync(`${checkpoints}/${checkpoint}/config.json`, "utf8")), ...change })
  )

describe("folders", () => {
  const cases: ReadonlyArray<readonly [what: string, path: () => string, reason: string, detail: string]> = [
    ["no config", () => mkdtempSync(join(folder, "empty-")), "Unreadable", "it has no config.json"],
    ["a config that is no JSON", () => withFile("qwen2", "config.json", "{"), "Malformed", "config.json is not JSON"],
    [
      "another architecture",
      () => config("qwen2", { model_type: "mamba" }),
      "Unsupported",
      "read are llama (LlamaForCausalLM)"
    ],
    [
      "another task",
      () => config("qwen2", { architectures: ["Qwen2ForSequenceClassification"] }),
      "Unsupported",
      "Qwen2ForSequenceClassification"
    ],
    ["another activation", () => config("qwen2", { hidden_act: "gelu" }), "Unsupported", "hidden_act"],
    [
      "another rotary scaling",
      () => config("qwen2", { rope_scaling: { rope_type: "yarn", factor: 4 } }),
      "Unsupported",
      "yarn"
    ],
    [
      "a missing tensor",
      () => config("qwen2", { num_hidden_layers: 3 }),
      "Malformed",
      "model.layers.2.input_layernorm.weight is missing"
    ],
    [
      "another shape",
      () => config("qwen2", { intermediate_size: 48 }),
      "Malformed",
      "has shape [44, 32], not [48, 32]"
    ],
    [
      "heads that do not divide",
      () => config("qwen2", { num_key_value_heads: 3 }),
      "Unsupported",
      "heads must be a multiple of kvHeads"
    ],
    ["a size that is a text", () => config("qwen2", { vocab_size: "304" }), "Malformed", "vocab_size is no number"],
    [
      "a layer count that no computer holds",
      () => config("qwen2", { num_hidden_layers: 1e9 }),
      "Unsupported",
      "layers must be at most 1024"
    ],
    [
      "no tokenizer",
      () => {
        const path = config("qwen2", {})
        rmSync(join(path, "tokenizer.json"))
        return path
      },
      "Unreadable",
      "it has no tokenizer.json"
    ],
    [
      "a shard outside the folder",
      () =>
        withFile(
          "llama-stretched",
          "model.safetensors.index.json",
          JSON.stringify({ weight_map: { "lm_head.weight": "../../x.safetensors" } })
        ),
      "Malformed",
      "names the file"
    ],
    [
      "a shard that is absent",
      () =>
        withFile(
          "llama-stretched",
          "model.safetensors.index.json",
          JSON.stringify({ weight_map: { "lm_head.weight": "y.safetensors" } })
        ),
      "Unreadable",
      "there is no such file"
    ]
  ]
  for (const [what, path, reason, detail] of cases) {
    it.effect(`refuse ${what}`, () =>
      Effect.gen(function*() {
        const opened = yield* open(path())
        if (Either.isRight(opened)) return assert.fail("taken")
        assert.strictEqual(opened.left.reason, reason, opened.left.message)
        assert.include(opened.left.message, detail)
      }))
  }

  it.effect("that do not fit the memory are refused with the sum", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(ModelFiles.open(`${checkpoints}/qwen2`, { maxBytes: 50_000 }))
      assert.strictEqual(error.reason, "TooLarge")
      assert.match(error.message, /the weights take 0\.00 GB .* in 8-bit blocks \(q8\) they take/)
      const both = yield* Effect.flip(
        ModelFiles.openAll([{ path: `${checkpoints}/qwen2` }, { path: `${checkpoints}/qwen3` }], { maxBytes: 150_000 })
      )
      assert.match(both.message, /\(qwen2 0\.00 GB \+ qwen3 0\.00 GB\)/)
    }))
})

describe("a file that changes after it was opened", () => {
  it.effect("is refused when the weights are read, and so are numbers that are not finite", () =>
    Effect.gen(function*() {
      const sample = (path: string, after: (file: string) => void) =>
        Effect.gen(function*() {
          const model = yield* ModelFiles.open(path, { name: "m" })
          after(join(path, "model.safetensors"))
          const engine = yield* InProcessEngine.make({ models: [model] })
          return yield* Effect.flip(engine.createSampler("s", { baseModel: "m" }))
        }).pipe(Effect.scoped)
      const touched = yield* sample(config("qwen2", {}), (file) => utimesSync(file, 1, 1))
      assert.include(touched.detail, "the model m cannot be loaded")
      assert.include(touched.detail, "has changed")
      const bytes = new Uint8Array(readFileSync(`${checkpoints}/qwen2/model.safetensors`))
      new DataView(bytes.buffer).setFloat32(bytes.length - 4, NaN, true)
      const broken = yield* sample(withFile("qwen2", "model.safetensors", bytes), () => {})
      assert.match(broken.detail, /holds a number that is not finite/)
    }))
})
