import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Random from "effect/Random"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Safetensors from "../../src/server/checkpoints/Safetensors.js"
import { deep, sized } from "../support/deep.js"
import * as Harness from "./fixtures/harness.js"

const kills = sized(40)
const enough = sized(218)

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "crash-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** The serving program as one file. The bundler is the one that tsx brings. */
const program = Effect.map(directory, (folder) => {
  const require = createRequire(import.meta.url)
  const esbuild: { readonly buildSync: (options: object) => void } = createRequire(require.resolve("tsx"))("esbuild")
  const outfile = join(folder, "server.mjs")
  esbuild.buildSync({
    entryPoints: [fileURLToPath(new URL("./fixtures/crashServer.ts", import.meta.url))],
    bundle: true,
    platform: "node",
    format: "esm",
    banner: { js: "import { createRequire } from \"node:module\"; const require = createRequire(import.meta.url)" },
    outfile,
    logLevel: "error"
  })
  return outfile
})

type Json = ReturnType<typeof JSON.parse>

const start = (file: string, dataDir: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn(process.execPath, [file, dataDir], { stdio: ["ignore", "pipe", "inherit"] })
      const [said] = await once(child.stdout, "data")
      const base = `http://127.0.0.1:${String(said).trim()}/api/v1`
      const call = async (method: string, path: string, body?: object): Promise<Json> => {
        const answer = await fetch(base + path, {
          method,
          ...(body === undefined ? {} : { body: JSON.stringify(body) })
        })
        return JSON.parse(await answer.text())
      }
      return {
        base,
        call,
        kill: async () => {
          if (child.exitCode !== null || child.signalCode !== null) return
          const closed = once(child, "close")
          child.kill("SIGKILL")
          await closed
        }
      }
    }),
    ({ kill }) => Effect.promise(kill)
  )

type Server = Effect.Effect.Success<ReturnType<typeof start>>

/** The number that a checkpoint holds, out of its archive. */
const valueOf = async ({ base }: Server, path: string): Promise<number> => {
  const [, , run, kind, name] = path.split("/")
  const answer = await fetch(`${base}/training_runs/${run}/checkpoints/${kind}/${name}/archive`)
  const tar = new Uint8Array(await answer.arrayBuffer())
  assert.strictEqual(answer.status, 200, path)
  const text = new TextDecoder("latin1")
  for (let at = 0; at + 512 <= tar.length;) {
    const size = parseInt(text.decode(tar.subarray(at + 124, at + 135)), 8)
    if (text.decode(tar.subarray(at, at + 100)).startsWith("adapter_model.safetensors")) {
      return Either.getOrThrow(Safetensors.decode(tar.subarray(at + 512, at + 512 + size))).tensors[0]!.data[0]!
    }
    at += 512 + 512 * Math.ceil(size / 512)
  }
  throw new Error(`${path} has no weights`)
}

/** Trains and saves, over and over, and writes down what was acknowledged: the path, and the number that it holds. */
const work = async ({ call }: Server, acknowledged: Map<string, number>, under: Map<string, number>) => {
  const session_id = (await call("POST", "/create_session", { sdk_version: "x" })).session_id
  const model = await call("POST", "/create_model", {
    session_id,
    model_seq_id: 0,
    base_model: "test/tiny",
    lora_config: { rank: 8 }
  })
  const result = (request_id: string) => call("POST", "/retrieve_future", { request_id })
  await result(model.request_id)
  const { model_id } = model
  for (let seq_id = 1, value = 0;; value++) {
    const data = [{
      model_input: { chunks: [{ type: "encoded_text", tokens: [1] }] },
      loss_fn_inputs: {
        target_tokens: { data: [1], dtype: "int64", shape: [1] },
        weights: { data: [1], dtype: "float32", shape: [1] }
      }
    }]
    if (value > 0) {
      await call("POST", "/forward_backward", {
        model_id,
        seq_id: seq_id++,
        forward_backward_input: { data, loss_fn: "cross_entropy" }
      })
      await call("POST", "/optim_step", { model_id, seq_id: seq_id++, adam_params: { learning_rate: 1 } })
    }
    under.set(`tinker://${model_id}/weights/s${value}`, value)
    const save = await call("POST", "/save_weights", { model_id, seq_id: seq_id++, path: `s${value}` })
    const { path } = await result(save.request_id)
    acknowledged.set(path, value)
  }
}

it.scopedLive(
  `every checkpoint that was acknowledged is there, whole, after ${kills} SIGKILLs of the server`,
  () =>
    Effect.gen(function*() {
      const dataDir = yield* directory
      const file = yield* program
      const acknowledged = new Map<string, number>()
      const under = new Map<string, number>()
      for (let kill = 0; kill < kills; kill++) {
        const server = yield* start(file, dataDir)
        const before = acknowledged.size
        const working = work(server, acknowledged, under).catch(() => {})
        const share = Math.ceil(enough / kills)
        yield* Harness.until(Effect.sync(() => acknowledged.size >= before + Math.min(share, 2)))
        yield* Effect.sleep(yield* Random.nextIntBetween(0, 5 * share))
        yield* Effect.promise(server.kill)
        yield* Effect.promise(() => working)
      }
      const server = yield* start(file, dataDir)
      // on, until there are as many as are to be looked at
      const working = work(server, acknowledged, under).catch(() => {})
      yield* Harness.until(Effect.sync(() => acknowledged.size >= enough))
      yield* Effect.promise(server.kill)
      yield* Effect.promise(() => working)

      const last = yield* start(file, dataDir)
      const { checkpoints } = yield* Effect.promise(() => last.call("GET", "/checkpoints?limit=100000"))
      const listed: ReadonlyArray<string> = checkpoints.map((_: { tinker_path: string }) => _.tinker_path)
      assert.includeMembers([...listed], [...acknowledged.keys()])
      // what is listed is whole, also where the server died before it could say so
      for (const path of listed) {
        assert.strictEqual(yield* Effect.promise(() => valueOf(last, path)), under.get(path), path)
      }
      assert.isAtLeast(listed.length, enough)
      if (deep) yield* Effect.log(`${kills} SIGKILLs, ${listed.length} checkpoints verified`)
    }).pipe(Effect.withRandom(Random.make("crash"))),
  600_000
)
