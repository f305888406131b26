/** Spends from a ledger in a file, as another process: one program a line of stdin, its outcome a line of stdout. */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Effect } from "effect"
import { createInterface } from "node:readline"
import * as Budget from "../../src/runs/Budget.js"
import { spendAll } from "./spending.js"

const lines = createInterface({ input: process.stdin })
for await (const line of lines) {
  const { directory, limit, program } = JSON.parse(line) as {
    readonly directory: string
    readonly limit: Budget.Limit
    readonly program: Parameters<typeof spendAll>[1]
  }
  const spent = await Effect.runPromise(
    Effect.scoped(Effect.flatMap(Budget.makeIn(directory, limit), (ledger) => spendAll(ledger, program))).pipe(
      Effect.provide(NodeContext.layer)
    )
  )
  process.stdout.write(`${JSON.stringify({ spent })}\n`)
}
