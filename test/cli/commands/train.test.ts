import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { json, run, seen, start, temporary } from "../support.js"

const folder = temporary()
const write = (name: string, value: unknown) => writeFileSync(join(folder.path, name), JSON.stringify(value))
const lines = (name: string, values: ReadonlyArray<unknown>) =>
  writeFileSync(join(folder.path, name), values.map((value) => JSON.stringify(value)).join("\n"))
const at = (kind: string, config: string, ...options: ReadonlyArray<string>) => [
  "train",
  kind,
  join(folder.path, config),
  "--local",
  ...options
]

const words = ["cat", "dog", "hat", "cup"]
const small = { model: "tinkex/nano", rank: 4, seed: 1 }

beforeAll(() => {
  lines(
    "chat.jsonl",
    words.map((word) => ({
      messages: [{ role: "user", content: `Greet a ${word}` }, { role: "assistant", content: "Hello!" }]
    }))
  )
  lines("pairs.jsonl", words.map((word) => ({ prompt: `How is the ${word}?`, chosen: "happy", rejected: "angry" })))
  write("sft.json", { ...small, directory: "sft", data: "chat.jsonl", epochs: 30, batchSize: 4, saveEvery: 2 })
  write("dpo.json", { ...small, directory: "dpo", pairs: "pairs.jsonl", epochs: 2 })
  write("rl.json", {
    ...small,
    directory: "rl",
    problems: "chat.jsonl",
    rounds: 2,
    groupsPerRound: 2,
    groupSize: 2,
    maxTokens: 4
  })
  const distill = { ...small, kind: "onPolicy", prompts: "chat.jsonl", rounds: 2, samples: 2, maxTokens: 4 }
  // a teacher from whom there is nothing to learn is no failure
  write("distill.json", { ...distill, directory: "distill", teacher: "tinkex/nano" })
  write("wrong.json", { ...small, directory: "wrong", data: "chat.jsonl", epochs: 0, batchsize: 4 })
})
afterAll(() => folder.remove())

describe("train", () => {
  it("names what is wrong in a configuration, and begins nothing", async () => {
    const { code, err, out } = await run(at("sft", "wrong.json"))
    assert.deepStrictEqual([code, out], [1, ""])
    assert.match(err, /wrong\.json: .*batchsize/)
    assert.include(err, "epochs: expected a positive number")
    assert.isFalse(existsSync(join(folder.path, "wrong")))
  })

  it("--dry-run shows data, what is learnt of them, tokens and cost", async () => {
    const { code, err, out } = await run(at("dpo", "dpo.json", "--dry-run"))
    assert.strictEqual(code, 0, err)
    assert.match(out, /^Steps +2$/m)
    assert.match(out, /^Cost at most +\$0\.00/m)
    assert.match(out, /^chosen .*How is the cat\?.*\[happy<\|im_end\|>\]$/m)
    assert.isFalse(existsSync(join(folder.path, "dpo")))
  })

  it("Ctrl-C leaves a run that the same command goes on with", async () => {
    const running = start(at("sft", "sft.json"))
    await seen(running, /step 6 of 30/)
    running.child.kill("SIGINT")
    const cut = await running.done
    assert.deepStrictEqual([cut.code, cut.out], [130, ""])
    assert.match(cut.err, /stopped at step \d+ of 30; the same command goes on/)
    const { code, err, out } = await run(at("sft", "sft.json"))
    assert.strictEqual(code, 0, err)
    const [, step] = /going on at step (\d+) of 30/.exec(err) ?? []
    assert.isAtLeast(Number(step), 2)
    assert.match(out, /^Updates +30$/m)
    assert.match(out, /^Sampler +tinker:/m)
  })

  for (const kind of ["dpo", "rl", "distill"]) {
    it(`${kind} trains, and prints JSON`, async () => {
      const done = await json(at(kind, `${kind}.json`)) as Readonly<Record<string, unknown>>
      assert.strictEqual(done["updates"], 2)
      assert.match(String(done["state_path"]), /^tinker:/)
    })
  }
})
