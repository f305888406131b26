import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { TestServer, VirtualClock } from "tinkex/testing"
import * as Server from "../../src/server/Server.js"
import * as Tinkex from "../../src/Tinkex.js"
import * as Tokenizers from "../../src/tokenizer/Tokenizers.js"
import {
  answersOf,
  differences,
  type Exchange,
  isEarly,
  keptHeaders,
  type Recording,
  toBytes,
  toPayload
} from "../interop/parity/exchange.js"
import { program } from "../interop/parity/program.js"
import { judge, markdown } from "../interop/parity/reasons.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const recording = (name: string): Recording =>
  JSON.parse(readFileSync(`${root}test/fixtures/wire/${name}.json`, "utf8")) as Recording // written by record.ts

const official = recording("official")
const recorded = recording("tinkex")

/** What was recorded on another machine says so. */
const ofTheMachine = /^headers\.x-stainless-(os|arch)$/

/** A service that answers as the recording has it, and what it is asked. */
const stub = ({ exchanges }: Recording) => {
  const asked: Array<Exchange> = []
  const keyOf = (method: string, path: string, body: unknown): string =>
    path.endsWith("/retrieve_future")
      ? `poll ${(body as { readonly request_id: string }).request_id}`
      : `${method} ${path.split("?")[0]}`
  const answers = new Map<string, Array<Exchange>>()
  for (const exchange of exchanges) {
    const body = exchange.body !== null && "json" in exchange.body ? exchange.body.json : undefined
    const key = keyOf(exchange.method, exchange.path, body)
    answers.set(key, [...answers.get(key) ?? [], exchange])
  }
  const client = HttpClient.make((request, url) =>
    Effect.sync(() => {
      const bytes = request.body._tag === "Uint8Array" ? request.body.body : new Uint8Array(0)
      const body = toPayload(bytes, request.headers["content-type"] ?? "")
      const path = url.pathname + url.search
      const key = keyOf(request.method, path, body !== null && "json" in body ? body.json : undefined)
      const waiting = answers.get(key) ?? []
      const answer = waiting.length > 1 ? waiting.shift() : waiting[0]
      asked.push({
        method: request.method,
        path,
        headers: keptHeaders(request.headers),
        body,
        status: answer?.status ?? 404,
        type: answer?.type ?? "",
        answer: null
      })
      return HttpClientResponse.fromWeb(
        request,
        answer === undefined
          ? new Response("{\"detail\":\"not in the recording\"}", { status: 404 })
          : new Response(answer.answer === null ? null : Buffer.from(toBytes(answer.answer)), {
            status: answer.status,
            headers: { "content-type": answer.type }
          })
      )
    })
  )
  return { asked, client }
}

/** What of the first is not in the second, by place. */
const missing = (expected: unknown, actual: unknown, where = ""): ReadonlyArray<string> => {
  if (Array.isArray(expected) && Array.isArray(actual) && expected.length === actual.length) {
    return expected.flatMap((item, i) => missing(item, actual[i], `${where}[${i}]`))
  }
  if (
    typeof expected === "object" && expected !== null && !Array.isArray(expected) && typeof actual === "object" &&
    actual !== null && !Array.isArray(actual)
  ) {
    return Object.entries(expected).flatMap(([key, value]) =>
      missing(value, (actual as Record<string, unknown>)[key], `${where}.${key}`)
    )
  }
  return JSON.stringify(expected) === JSON.stringify(actual)
    ? []
    : [`${where}: ${JSON.stringify(expected)} became ${JSON.stringify(actual)}`]
}

describe("wire replay", () => {
  it("what was recorded differs only where there is a reason, and the page says so", () => {
    assert.deepStrictEqual(judge(differences(official, recorded)), { unexplained: [], stale: [] })
    assert.strictEqual(readFileSync(`${root}docs/wire-parity.md`, "utf8"), markdown())
  })

  it.effect("tinkex asks what the official SDK asked, when it is answered as that was", () => {
    const { asked, client } = stub(official)
    return VirtualClock.run(
      Effect.map(
        program({ baseUrl: "http://recorded", apiKey: "tml-parity" }).pipe(
          Effect.provide(
            Tinkex.layerShared({ tokenizers: Tokenizers.layer }).pipe(
              Layer.provideMerge(Layer.succeed(HttpClient.HttpClient, client))
            )
          )
        ),
        () => {
          const { stale, unexplained } = judge(differences(official, { by: "tinkex", exchanges: asked }))
          assert.deepStrictEqual(unexplained.filter(({ where }) => !ofTheMachine.test(where)), [])
          assert.deepStrictEqual(stale, [])
          assert.isAbove(asked.length, 40)
        }
      )
    )
  })

  it.scopedLive(
    "the server answers the requests of the official SDK as they were answered",
    () =>
      Effect.gen(function*() {
        const { fetch } = yield* Server.Server
        const exchanges: Array<Exchange> = []
        const requests = official.exchanges.filter((exchange) => !isEarly(exchange))
        let before = ""
        let now = ""
        /** Ids of sessions are new; they are as long as the old ones, so that this goes for protobuf too. */
        const renamed = (bytes: Uint8Array): Uint8Array =>
          now === "" ? bytes : Buffer.from(Buffer.from(bytes).toString("latin1").replaceAll(before, now), "latin1")
        for (const exchange of requests) {
          const path = Buffer.from(renamed(Buffer.from(exchange.path))).toString()
          const body = renamed(toBytes(exchange.body))
          const response = yield* Effect.promise(() =>
            fetch(
              new Request(`http://tinkex.test${path}`, {
                method: exchange.method,
                headers: { ...exchange.headers, "x-api-key": "tml-parity" },
                ...(body.length === 0 ? {} : { body: Buffer.from(body) })
              })
            )
          )
          const type = response.headers.get("content-type") ?? ""
          const answer = new Uint8Array(yield* Effect.promise(() => response.arrayBuffer()))
          const replayed: Exchange = {
            ...exchange,
            path,
            status: response.status,
            type,
            answer: toPayload(answer, type)
          }
          exchanges.push(replayed)
          if (path.endsWith("/create_session")) {
            before = sessionOf(exchange)
            now = sessionOf(replayed)
            assert.lengthOf(now, before.length)
          }
        }
        const answered = answersOf({ by: "replay", exchanges })
        answersOf({ by: official.by, exchanges: requests }).forEach((expected, i) => {
          assert.deepStrictEqual(missing(expected, answered[i]), [], String(expected["what"]))
        })
        assert.isAbove(answered.length, 40)
      }).pipe(Effect.provide(TestServer.layerServer())),
    60_000
  )
})

const sessionOf = ({ answer }: Exchange): string =>
  answer !== null && "json" in answer ? (answer.json as { readonly session_id: string }).session_id : ""
