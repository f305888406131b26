import { assert, describe, it } from "@effect/vitest"
import { execFile, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

interface Done {
  readonly code: number
  readonly output: string
}

const run = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}): Promise<Done> =>
  new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ["--import", "tsx", ...args],
      { cwd: root, env: { ...process.env, ...env, NO_COLOR: "1" } },
      (error, stdout, stderr) => resolve({ code: child.exitCode ?? (error === null ? 0 : 1), output: stdout + stderr })
    )
  })

/** What each example must say, so that one that ends early does not pass. */
const expected: Readonly<Record<string, RegExp>> = {
  "batch-training.ts": /item 2: loss \d/,
  "chat-finetune.ts": /Who are you\? I am Tink, a tiny model\. \(stop\)/,
  "checkpoints.ts": /downloaded \S+/,
  "concurrent-sampling.ts": /200 samples/,
  "custom-engine.ts": /step 20: loss \d+[\s\S]*the c/,
  "custom-loss.ts": /step 20: loss/,
  "custom-server-url.ts": /this server offers tinkex\/nano/,
  "dpo.ts": /step 20: loss 0\.[0-5]\d+, accuracy 1[\s\S]*20 updates are done/,
  "pipelined-loop.ts": /step 30: loss/,
  "reinforcement-learning.ts": /round 0: mean reward 0\.[0-2][\s\S]*mean reward at the end: (0\.9|1\.0)/,
  "run.ts": /40 updates are in tinker:[\s\S]*report\.html shows it/,
  "regularizers.ts": /kl_divergence/,
  "sampling.ts": /the prompt itself/,
  "sft.ts": /before: [\s\S]*after: Hello, friend!/,
  "training-loop.ts": /The sky is blue/,
  "two-tenants.ts": /alice: 20 samples[\s\S]*bob: 20 samples|bob: 20 samples[\s\S]*alice: 20 samples/
}

describe.concurrent("every example runs", () => {
  for (
    const name of readdirSync(join(root, "examples")).filter((name) => name.endsWith(".ts") && !name.startsWith("_"))
  ) {
    // real-model.ts needs a model of 98 MB: npm run test:models runs it.
    it.runIf(name !== "custom-server-url.ts" && name !== "real-model.ts")(name, async () => {
      const folder = mkdtempSync(join(tmpdir(), "tinkex-example-"))
      try {
        // a run keeps a directory; the others look at no arguments
        const { code, output } = await run([join("examples", name), join(folder, "run")])
        assert.strictEqual(code, 0, output)
        assert.match(output, expected[name] ?? /./)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }

  it("custom-server-url.ts and the program of the README, against tinkex serve in another process", async () => {
    const server = spawn(process.execPath, ["bin/tinkex.js", "serve", "--port", "0"], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"]
    })
    // Beside the examples, so that it finds the package by its name
    const program = join(root, "examples", `__readme-${process.pid}.ts`)
    try {
      const url = await new Promise<string>((resolve, reject) => {
        let text = ""
        server.stdout.on("data", (chunk: Buffer) => {
          text += chunk.toString()
          const match = /listening on (\S+)/.exec(text)
          if (match?.[1] !== undefined) resolve(match[1])
        })
        server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)))
      })
      const example = await run(["examples/custom-server-url.ts"], { TINKER_BASE_URL: url })
      assert.strictEqual(example.code, 0, example.output)
      assert.match(example.output, expected["custom-server-url.ts"] ?? /./)

      const readme = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1] ?? ""
      const remote = readme
        .replace(
          "import * as LocalTinkex from \"tinkex/LocalTinkex\"",
          "import * as NodeTinkex from \"tinkex/NodeTinkex\""
        )
        .replace("LocalTinkex.layer()", "NodeTinkex.layerConfig()")
      assert.include(remote, "NodeTinkex.layerConfig()), NodeRuntime.runMain")
      writeFileSync(program, remote)
      const { code, output } = await run([program], { TINKER_BASE_URL: url })
      assert.strictEqual(code, 0, output)
      assert.strictEqual([...output.matchAll(/loss \d/g)].length, 40)
    } finally {
      rmSync(program, { force: true })
      server.kill("SIGTERM")
      await new Promise((resolve) => server.once("exit", resolve))
    }
    // What the command line documents for SIGTERM, after everything has been flushed and closed
    assert.strictEqual(server.exitCode, 143)
  })
})

describe.concurrent("every experiment runs, and resumes", () => {
  for (const name of ["learning-rate-sweep", "rank-sweep", "dpo-beta"]) {
    it(name, async () => {
      const folder = mkdtempSync(join(tmpdir(), "tinkex-experiment-"))
      try {
        const script = [`scratchpad/experiments/${name}.ts`, "--quick", "--out", folder]
        const first = await run(script)
        assert.strictEqual(first.code, 0, first.output)
        const lines = readFileSync(join(folder, `${name}-quick.jsonl`), "utf8")
        assert.strictEqual(lines.trim().split("\n").length, 2)
        assert.match(readFileSync(join(folder, `${name}-quick.svg`), "utf8"), /^<svg[\s\S]*<\/svg>\s*$/)
        const second = await run(script)
        assert.match(second.output, /kept from an earlier run/)
        assert.strictEqual(readFileSync(join(folder, `${name}-quick.jsonl`), "utf8"), lines)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }
})
