import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { version } from "../../src/protocol/Version.js"
import { json, run, serve, type Server, temporary } from "./support.js"

const folder = temporary()
let server: Server
let path: string
let sampler: string
let runId: string

const at = (...args: ReadonlyArray<string>) => [...args, "--base-url", server.url]

/** An object of JSON output. */
const record = (value: unknown): Record<string, unknown> => value as Record<string, unknown>
const list = (value: unknown): ReadonlyArray<Record<string, unknown>> => value as ReadonlyArray<Record<string, unknown>>

beforeAll(async () => {
  server = await serve("--data-dir", folder.path)
  const saved = record(
    await json(at("checkpoint", "save", "--base-model", "tinkex/nano", "--name", "first", "--rank", "4", "--seed", "1"))
  )
  path = String(saved["tinker_path"])
  runId = String(saved["training_run_id"])
  const other = await run(at("checkpoint", "save", "--from", path, "--name", "second", "--sampler"))
  assert.strictEqual(other.code, 0, other.err)
  sampler = other.out.trim()
})

afterAll(async () => {
  await server.stop()
  folder.remove()
})

describe("checkpoint", () => {
  it("save makes a run and prints its path, and nothing else", () => {
    assert.match(path, /^tinker:\/\/[^/]+\/weights\/first$/)
    assert.match(sampler, /^tinker:\/\/[^/]+\/sampler_weights\/second$/)
    assert.strictEqual(path, `tinker://${runId}/weights/first`)
  })

  it("save wants one start", async () => {
    for (const args of [[], ["--base-model", "a", "--from", "b"]]) {
      const { code, err } = await run(at("checkpoint", "save", "--name", "x", ...args))
      assert.strictEqual(code, 1)
      assert.include(err, "exactly one of --base-model and --from")
    }
  })

  it("list shows a table, or JSON, of all or of one run", async () => {
    const { code, out } = await run(at("checkpoint", "list"))
    assert.strictEqual(code, 0)
    const lines = out.trimEnd().split("\n")
    assert.match(lines[0]!, /^Checkpoint ID +Type +Size +Public +Created +Expires +Path$/)
    assert.lengthOf(lines, 3)
    assert.isTrue(
      lines.some((line) => /^weights\/first +training +\d+\.\d KB +No +just now +Never +tinker:/.test(line))
    )
    assert.notInclude(out, "\u001b")
    const all = record(await json(at("checkpoint", "list")))
    assert.lengthOf(list(all["checkpoints"]), 2)
    const own = record(await json(at("checkpoint", "list", "--run-id", runId)))
    assert.strictEqual(own["run_id"], runId)
    assert.deepStrictEqual(list(own["checkpoints"]).map((checkpoint) => checkpoint["tinker_path"]), [path])
    const first = await run(at("checkpoint", "list", "--limit", "1"))
    assert.include(first.err, "1 more not shown")
    assert.lengthOf(first.out.trimEnd().split("\n"), 2)
    const whole = record(await json(at("checkpoint", "list", "--limit", "0", "--offset", "1")))
    assert.lengthOf(list(whole["checkpoints"]), 1)
  })

  it("info shows one, with options before or after the path", async () => {
    const { code, out } = await run(["checkpoint", "info", "--base-url", server.url, path])
    assert.strictEqual(code, 0)
    assert.match(out, /^LoRA +Rank 4$/m)
    assert.match(out, new RegExp(`^Path +${path}$`, "m"))
    const info = record(await json(["checkpoint", "info", path, "--base-url", server.url]))
    assert.strictEqual(info["checkpoint_id"], "weights/first")
    assert.strictEqual(info["lora_rank"], 4)
    assert.strictEqual(info["public"], false)
  })

  it("publish and unpublish change who can read it, once", async () => {
    const published = await run(at("checkpoint", "publish", path))
    assert.deepStrictEqual([published.code, published.out], [0, ""])
    assert.strictEqual(record(await json(at("checkpoint", "info", path)))["public"], true)
    const again = await run(at("checkpoint", "publish", path))
    assert.strictEqual(again.code, 1)
    assert.include(again.err, "409 conflict")
    assert.deepStrictEqual(await json(at("checkpoint", "unpublish", path)), { tinker_path: path, public: false })
    assert.strictEqual(record(await json(at("checkpoint", "info", path)))["public"], false)
  })

  it("set-ttl sets and removes the end", async () => {
    const set = await run(at("checkpoint", "set-ttl", path, "--ttl", "7200"))
    assert.deepStrictEqual([set.code, set.out], [0, ""])
    assert.isString(record(await json(at("checkpoint", "info", path)))["expires_at"])
    assert.deepStrictEqual(await json(at("checkpoint", "set-ttl", "--remove", path)), {
      tinker_path: path,
      ttl_seconds: null
    })
    assert.isUndefined(record(await json(at("checkpoint", "info", path)))["expires_at"])
    for (const args of [[], ["--ttl", "5", "--remove"]]) {
      const { code, err } = await run(at("checkpoint", "set-ttl", path, ...args))
      assert.strictEqual(code, 1)
      assert.include(err, "exactly one of --ttl SECONDS and --remove")
    }
    const zero = await run(at("checkpoint", "set-ttl", path, "--ttl", "0"))
    assert.strictEqual(zero.code, 1)
    assert.include(zero.err, "whole seconds, from 1")
  })

  it("download unpacks, keeps what is there, and replaces it when told to", async () => {
    const target = temporary()
    try {
      const { code, err, out } = await run(at("checkpoint", "download", sampler, "-o", target.path))
      assert.strictEqual(code, 0, err)
      const directory = out.trim()
      const files = readdirSync(directory)
      assert.includeMembers(files, ["adapter_config.json", "adapter_model.safetensors", "checkpoint_complete"])
      const config: unknown = JSON.parse(readFileSync(join(directory, "adapter_config.json"), "utf8"))
      assert.strictEqual(record(config)["r"], 4)
      const again = await run(at("checkpoint", "download", sampler, "--output", target.path))
      assert.strictEqual(again.code, 1)
      assert.include(again.err, "is there already")
      const forced = record(await json(at("checkpoint", "download", "--force", sampler, "-o", target.path)))
      assert.strictEqual(forced["destination"], directory)
      assert.isAbove(Number(forced["file_size_bytes"]), 1000)
      assert.deepStrictEqual(readdirSync(target.path).length, 1)
    } finally {
      target.remove()
    }
  })

  it("delete asks, checks every path first, goes on after a failure and says what it did", async () => {
    const paths: Array<string> = []
    for (const name of ["x", "y"]) {
      const { out } = await run(at("checkpoint", "save", "--from", path, "--name", name))
      paths.push(out.trim())
    }
    const [x, y] = paths as [string, string]
    const unasked = await run(at("checkpoint", "delete", x))
    assert.strictEqual(unasked.code, 1)
    assert.include(unasked.err, "add --yes")
    const bad = await run(at("checkpoint", "delete", x, "not-a-path", "--yes"))
    assert.strictEqual(bad.code, 1)
    assert.include(bad.err, "tinker://")
    assert.strictEqual((await run(at("checkpoint", "info", x))).code, 0)
    const gone = x.replace(/x$/, "gone")
    const some = await run(at("checkpoint", "delete", gone, x, "--yes", "--json"))
    assert.strictEqual(some.code, 1)
    const report = record(JSON.parse(some.out))
    assert.strictEqual(report["deleted_count"], 1)
    assert.deepStrictEqual(list(report["failed"]).map((failure) => failure["tinker_path"]), [gone])
    const run_ = y.slice("tinker://".length).split("/")[0]!
    const none = await run(at("checkpoint", "delete", "--run-id", run_, "--type", "sampler", "-y"))
    assert.deepStrictEqual([none.code, none.out], [0, "Deleted 0 checkpoints\n"])
    const early = await run(at("checkpoint", "delete", "--run-id", run_, "--before", "2020-01-01", "-y"))
    assert.deepStrictEqual([early.code, early.out], [0, "Deleted 0 checkpoints\n"])
    const rest = await run(at("checkpoint", "delete", "--run-id", run_, "--type", "weights", "-y"))
    assert.deepStrictEqual([rest.code, rest.out], [0, "Deleted 1 checkpoint\n"])
    assert.strictEqual((await run(at("checkpoint", "delete", "--yes"))).code, 1)
  })
})

describe.concurrent("run, session", () => {
  it("run list and run info", async () => {
    const { code, out } = await run(at("run", "list"))
    assert.strictEqual(code, 0)
    assert.match(out, /^Run ID +Base Model +LoRA +Last Update +Status$/m)
    assert.match(out, new RegExp(`^${runId} +tinkex/nano +Rank 4 +.* +OK$`, "m"))
    const all = list(record(await json(at("run", "list", "--limit", "0")))["runs"])
    assert.include(all.map((item) => item["training_run_id"]), runId)
    const info = record(await json(at("run", "info", runId)))
    assert.strictEqual(info["base_model"], "tinkex/nano")
    assert.strictEqual(record(info["last_checkpoint"])["tinker_path"], path)
    const text = await run(at("run", "info", runId, "--access-scope", "accessible"))
    assert.match(text.out, new RegExp(`^Last Checkpoint +${path}$`, "m"))
    const missing = await run(at("run", "info", "nothing"))
    assert.strictEqual(missing.code, 1)
    assert.include(missing.err, "get training run (nothing): 404 not found")
  })

  it("session list and session info", async () => {
    const sessions = record(await json(at("session", "list")))["sessions"] as ReadonlyArray<string>
    assert.include(sessions, runId.split(":")[0])
    const { out } = await run(at("session", "list", "--limit", "1"))
    assert.match(out, /^Session ID\n\S+\n$/)
    const info = record(await json(at("session", "info", runId.split(":")[0]!)))
    assert.deepStrictEqual(info["training_run_ids"], [runId])
    const text = await run(at("session", "info", runId.split(":")[0]!))
    assert.match(text.out, new RegExp(`^Training Runs +${runId}$`, "m"))
    const trace = await run(at("session", "export-trace", runId.split(":")[0]!))
    assert.strictEqual(trace.code, 1)
    assert.include(trace.err, "records no traces")
  })
})

describe.concurrent("sample", () => {
  it("prints text, or JSON with tokens; a seed repeats it", async () => {
    const args = ["sample", "--model-path", sampler, "--prompt", "2 + 2 =", "--max-tokens", "8", "--seed", "3"]
    const first = await run(at(...args))
    assert.strictEqual(first.code, 0, first.err)
    const second = record(await json(at(...args, "--logprobs")))
    const [sequence] = list(second["sequences"])
    assert.strictEqual(first.out, `${String(sequence!["text"])}\n`)
    assert.strictEqual(
      (sequence!["tokens"] as ReadonlyArray<number>).length,
      (sequence!["logprobs"] as ReadonlyArray<number>).length
    )
    assert.strictEqual(
      (second["prompt_logprobs"] as ReadonlyArray<number>).length,
      (second["prompt_tokens"] as ReadonlyArray<number>).length
    )
  })

  it("takes its prompt from a file, from standard input, or as tokens, and writes to a file", async () => {
    const file = join(folder.path, "prompt.txt")
    writeFileSync(file, "[1, 2, 3]")
    const tokens = record(
      await json(at("sample", "--base-model", "tinkex/nano", "--prompt-file", file, "--max-tokens", "2"))
    )
    assert.deepStrictEqual(tokens["prompt_tokens"], [1, 2, 3])
    const out = join(folder.path, "out.txt")
    const piped = await run(
      at(
        "sample",
        "--base-model",
        "tinkex/nano",
        "--prompt-file",
        "-",
        "--max-tokens",
        "2",
        "-n",
        "2",
        "--top-k",
        "5",
        "-o",
        out
      ),
      { input: "Once upon" }
    )
    assert.deepStrictEqual([piped.code, piped.out], [0, ""], piped.err)
    assert.match(readFileSync(out, "utf8"), /^\[1\] [^]*\n\[2\] /)
    assert.isFalse(readdirSync(folder.path).some((name) => name.startsWith(".tinkex-write")))
  })

  it("refuses what it cannot do", async () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["--base-model", "tinkex/nano"], "exactly one of --prompt and --prompt-file"],
      [["--prompt", "x"], "exactly one of --base-model and --model-path"],
      [["--base-model", "tinkex/nano", "--prompt", "x", "--temperature", "-1"], "temperature"],
      [["--base-model", "tinkex/nano", "--prompt-file", "/nowhere"], "--prompt-file"],
      [["--base-model", "no/such-model", "--prompt", "x"], "no/such-model"]
    ]
    await Promise.all(cases.map(async ([args, text]) => {
      const { code, err, out } = await run(at("sample", ...args))
      assert.deepStrictEqual([code, out], [1, ""], err)
      assert.include(err, text)
    }))
  })
})

describe.concurrent("the service and the account", () => {
  it("capabilities and model list", async () => {
    const { code, out } = await run(at("capabilities"))
    assert.strictEqual(code, 0)
    assert.match(out, /^Model +Max Context +Parameters/)
    assert.match(out, /^tinkex\/nano +\d+ +\S+/m)
    const models = list(record(await json(at("capabilities")))["supported_models"])
    assert.include(models.map((model) => model["model_name"]), "tinkex/nano")
    const found = list(record(await json(at("model", "list", "RANDOM")))["models"])
    assert.deepStrictEqual(found.map((model) => model["model_name"]), ["tinkex/nano-random"])
    const missing = await run(at("model", "list", "gpt"))
    assert.strictEqual(missing.code, 1)
    assert.include(missing.err, "no model has \"gpt\" in its name")
  })

  it("auth login and logout keep a key and forget it", async () => {
    const home = temporary()
    const env = { HOME: home.path, USERPROFILE: home.path }
    try {
      assert.strictEqual((await run(["auth", "login"], { env, input: "tml-0123456789\n" })).code, 0)
      const file = join(home.path, ".tinker", "credentials.json")
      assert.strictEqual(JSON.parse(readFileSync(file, "utf8")).keys.tinkex.key, "tml-0123456789")
      // the key of Tinker itself goes to no other server
      assert.strictEqual(record(await json(at("auth", "status"), { env }))["credentials"], false)
      const refused = await run(["auth", "login"], { env, input: "sk-other" })
      assert.strictEqual(refused.code, 1)
      assert.notInclude(refused.err + refused.out, "sk-other")
      assert.match((await run(["auth", "logout"], { env })).err, /forgotten/)
      assert.match((await run(["auth", "logout"], { env })).err, /no key was kept/)
    } finally {
      home.remove()
    }
  })

  it("auth status and auth whoami", async () => {
    assert.deepStrictEqual(await json(at("auth", "status")), {
      base_url: server.url,
      credentials: false,
      accessible: true
    })
    assert.match((await run(at("auth", "status"))).out, /^Accessible +Yes$/m)
    assert.strictEqual(record(await json(at("auth", "whoami")))["org_urn"], "tml:organization:local")
    assert.match((await run(at("auth", "whoami"))).out, /^Email +—$/m)
  })

  it("billing usage and checkpoint-storage", async () => {
    const usage = record(await json(at("billing", "usage", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")))
    assert.deepStrictEqual(usage["data"], [])
    const storage = await run(at("billing", "checkpoint-storage"))
    assert.match(storage.out, /^Project +Owner +Checkpoints +Size/m)
    assert.isArray(record(await json(at("billing", "checkpoint-storage")))["data"])
    assert.strictEqual((await run(at("billing", "usage", "2026-01-02", "2026-01-01"))).code, 1)
    assert.strictEqual((await run(at("billing", "usage", "yesterday", "today"))).code, 2)
  })

  it("version and help need no server", async () => {
    assert.strictEqual((await run(["version"])).out, `tinkex ${version}\n`)
    assert.strictEqual(record(await json(["version"]))["version"], version)
    assert.strictEqual((await run(["--version"])).out.trim(), version)
    const help = await run(["--help"])
    assert.strictEqual(help.code, 0)
    assert.notInclude(help.out, "\u001b")
    assert.match(help.out, /^ {2}checkpoint delete +Delete checkpoints/m)
    const completions = await run(["--completions", "bash"])
    assert.strictEqual(completions.code, 0)
    assert.include(completions.out, "checkpoint")
  })
})

describe.concurrent("failures", () => {
  it("exit with 1 and say what to do, on stderr", async () => {
    const down = await run(["run", "list", "--base-url", "http://127.0.0.1:9", "--json"])
    assert.deepStrictEqual([down.code, down.out], [1, ""])
    assert.include(down.err, "no connection to http://127.0.0.1:9 (refused")
    assert.include(down.err, "Check that the server runs")
    const keyless = await run(["run", "list"])
    assert.strictEqual(keyless.code, 1)
    assert.include(keyless.err, "TINKER_API_KEY")
    const path_ = await run(at("checkpoint", "info", "weights/a"))
    assert.strictEqual(path_.code, 1)
    assert.include(path_.err, "path: expected tinker://<training run>/")
    const missing = await run(at("checkpoint", "info", "tinker://nothing/weights/a"))
    assert.strictEqual(missing.code, 1)
    assert.include(missing.err, "404")
    const negative = await run(at("run", "list", "--limit", "-1"))
    assert.strictEqual(negative.code, 1)
  })

  it("exit with 2 for a mistake in the command line", async () => {
    for (
      const args of [["foo"], ["checkpoint", "bar"], ["run", "info"], ["run", "list", "--limit", "many"], [
        "run",
        "list",
        "--nope"
      ]]
    ) {
      const { code, err, out } = await run(args)
      assert.deepStrictEqual([code, out], [2, ""], args.join(" "))
      assert.notStrictEqual(err, "")
    }
  })

  it("a wrong key is told apart, and never shown", async () => {
    const locked = await serve("--api-key", "tml-right")
    try {
      const wrong = await run(["run", "list", "--base-url", locked.url, "--api-key", "tml-wrong"])
      assert.strictEqual(wrong.code, 1)
      assert.include(wrong.err, "401 the key was not accepted")
      assert.notInclude(wrong.err, "tml-")
      const env = { TINKER_BASE_URL: locked.url, TINKER_API_KEY: "tml-right" }
      assert.deepStrictEqual(await json(["run", "list"], { env }), { runs: [] })
    } finally {
      await locked.stop()
    }
  })
})
