/**
 * Runs one program through the official SDK and through tinkex, each against a server of its own behind a proxy that keeps what
 * passes, and holds what was asked against each other.
 *
 *     tsx record.ts PYTHON [--update] [--newest]
 *
 * PYTHON is an interpreter that has the SDK. `--update` writes the recordings (test/fixtures/wire) and docs/wire-parity.md;
 * with `--newest` these are left alone.
 */
import { Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, request as send } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as NodeTinkex from "../../../src/NodeTinkex.js"
import { differences, type Exchange, keptHeaders, type Recording, toPayload } from "./exchange.js"
import { program } from "./program.js"
import { judge, markdown } from "./reasons.js"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const apiKey = "tml-parity"

const lineOf = (child: ChildProcess, pattern: RegExp): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = ""
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString()
      const match = pattern.exec(text)
      if (match?.[1] !== undefined) resolve(match[1])
    })
    child.once("exit", (code) => reject(new Error(`the server ended with ${code} before it was ready`)))
  })

const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.once("exit", resolve))

/** Passes requests on to a server and keeps them with their answers, in the order in which they came. */
const proxy = async (target: string) => {
  const exchanges: Array<Exchange | undefined> = []
  const { hostname, port } = new URL(target)
  const server = createServer((incoming, outgoing) => {
    const slot = exchanges.push(undefined) - 1
    const asked: Array<Buffer> = []
    incoming.on("data", (chunk: Buffer) => asked.push(chunk))
    incoming.on("end", () => {
      const body = Buffer.concat(asked)
      const method = incoming.method ?? "GET"
      const path = incoming.url ?? "/"
      const onward = send({
        hostname,
        port,
        method,
        path,
        headers: { ...incoming.headers, "accept-encoding": "identity" }
      }, (reply) => {
        const answered: Array<Buffer> = []
        reply.on("data", (chunk: Buffer) => answered.push(chunk))
        reply.on("end", () => {
          const answer = Buffer.concat(answered)
          const type = reply.headers["content-type"] ?? ""
          exchanges[slot] = {
            method,
            path,
            headers: keptHeaders(incoming.headers),
            body: toPayload(body, incoming.headers["content-type"] ?? ""),
            status: reply.statusCode ?? 0,
            type,
            answer: toPayload(answer, type)
          }
          outgoing.writeHead(reply.statusCode ?? 502, reply.headers).end(answer)
        })
      })
      onward.on("error", () => outgoing.destroy())
      onward.end(body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port: own } = server.address() as AddressInfo // it listens on a port
  return {
    url: `http://127.0.0.1:${own}`,
    exchanges: () => exchanges.filter((exchange) => exchange !== undefined),
    close: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}

const record = async (by: string, run: (url: string) => Promise<void>): Promise<Recording> => {
  const server = spawn(process.execPath, [join(root, "bin/tinkex.js"), "serve", "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  try {
    const between = await proxy(await lineOf(server, /listening on (http:\/\/\S+)/))
    try {
      await run(between.url)
    } finally {
      between.close()
    }
    return { by, exchanges: between.exchanges() }
  } finally {
    const over = ended(server)
    server.kill("SIGTERM")
    await over
  }
}

const throughSdk = (python: string) => async (url: string): Promise<void> => {
  const home = mkdtempSync(join(tmpdir(), "tinkex-parity-"))
  try {
    const child = spawn(python, [join(root, "test/interop/parity/program.py")], {
      cwd: home,
      env: {
        ...process.env,
        TINKER_BASE_URL: url,
        TINKER_API_KEY: apiKey,
        TINKER_TELEMETRY: "1",
        HF_HUB_OFFLINE: "1",
        HOME: home,
        PYTHONWARNINGS: "ignore"
      },
      stdio: "inherit"
    })
    const code = await ended(child)
    if (code !== 0) throw new Error(`the program of the official SDK ended with ${code}`)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

const throughTinkex = (url: string): Promise<void> =>
  Effect.runPromise(program({ baseUrl: url, apiKey }).pipe(Effect.provide(NodeTinkex.layerShared())))

const fixture = (name: string): string => join(root, "test/fixtures/wire", `${name}.json`)

/** Without what tells of the machine: the Python SDK reports its tracebacks. */
const shortened = (key: string, value: unknown): unknown =>
  key === "exception_stack" || key === "traceback" ? "<traceback>" : value

const text = ({ by, exchanges }: Recording): string =>
  `{"by":${JSON.stringify(by)},"exchanges":[\n${
    exchanges.map((exchange) => JSON.stringify(exchange, shortened)).join(",\n")
  }\n]}\n`

const main = async (): Promise<number> => {
  const [python] = process.argv.slice(2).filter((arg) => !arg.startsWith("--"))
  if (python === undefined) throw new Error("usage: record.ts PYTHON [--update]")
  const update = process.argv.includes("--update")
  const [official, tinkex] = await Promise.all([
    record("the official SDK", throughSdk(python)),
    record("tinkex", throughTinkex)
  ])
  const { stale, unexplained } = judge(differences(official, tinkex))
  const failures = [
    ...unexplained.map((one) =>
      `${one.what} ${one.where}: the official SDK ${JSON.stringify(one.official)}, tinkex ${JSON.stringify(one.tinkex)}`
    ),
    ...stale.map((reason) => `no difference any more: ${reason.where}`)
  ]
  const page = markdown()
  const file = join(root, "docs/wire-parity.md")
  if (update && !process.argv.includes("--newest")) {
    writeFileSync(fixture("official"), text(official))
    writeFileSync(fixture("tinkex"), text(tinkex))
    writeFileSync(file, page)
  } else if (!process.argv.includes("--newest") && readFileSync(file, "utf8") !== page) {
    failures.push("docs/wire-parity.md is stale; run: npm run test:interop -- --update")
  }
  for (const failure of failures) console.log(`FAIL wire parity: ${failure}`)
  const asked = official.exchanges.length
  console.log(
    `wire parity: ${asked} requests of the official SDK, ${tinkex.exchanges.length} of tinkex, ${failures.length} unexplained`
  )
  return failures.length
}

main().then((failures) => process.exit(failures === 0 ? 0 : 1), (error: unknown) => {
  console.error(error)
  process.exit(2)
})
