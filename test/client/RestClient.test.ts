import { assert, describe, it } from "@effect/vitest"
import { Chunk, DateTime, Duration, Effect, Layer, Redacted, Stream } from "effect"
import * as Future from "../../src/client/Future.js"
import * as RestClient from "../../src/client/RestClient.js"
import * as ServiceClient from "../../src/client/ServiceClient.js"
import { TestServer } from "../../src/testing/index.js"
import { layerOver, makeFake, type Reply, rushed, testOver as test } from "./fixtures/FakeService.js"

const rest = RestClient.connect({ baseUrl: "http://fake", apiKey: "tml-secret", retry: { base: "1 second" } })
const path = "tinker://s:train:0/weights/a"
const collect = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.map(Stream.runCollect(stream), Chunk.toReadonlyArray)

const run = (id: string, extra: object = {}) => ({
  training_run_id: id,
  base_model: "tinkex/nano",
  model_owner: "me",
  is_lora: true,
  last_request_time: "2026-01-01T00:00:00Z",
  ...extra
})
const pageOf = (url: string) => {
  const { searchParams } = new URL(url)
  return { limit: Number(searchParams.get("limit")), offset: Number(searchParams.get("offset")) }
}

describe("RestClient", () => {
  test("opens no session, and exchanges the key only where the service wants it", (fake) =>
    Effect.gen(function*() {
      const plain = yield* rest
      yield* plain.getServerCapabilities
      assert.deepStrictEqual(fake.calls.map((call) => call.endpoint), ["client/config", "get_server_capabilities"])
      fake.on("client/config", () => ({ json: { pjwt_auth_enabled: true } }))
      const exchanged = yield* rest
      yield* exchanged.getServerCapabilities
      assert.strictEqual(fake.of("auth/token")[0]!.headers["x-api-key"], "tml-secret")
      assert.strictEqual(fake.calls.at(-1)!.headers["x-api-key"], "eyJh.e30.x")
    }))

  test("reads lists page by page, as they are read, and each item once", (fake) =>
    Effect.gen(function*() {
      const all = Array.from({ length: 250 }, (_, i) => run(`r${i}`))
      fake.on("training_runs", ({ url }, n) => {
        const { limit, offset } = pageOf(url)
        // a new run appears at the front between the first and the second page
        const now = n === 0 ? all : [run("new"), ...all]
        return {
          json: {
            training_runs: now.slice(offset, offset + limit),
            cursor: { offset, limit, total_count: now.length }
          }
        }
      })
      const client = yield* rest
      const few = yield* collect(Stream.take(client.listTrainingRuns(), 3))
      assert.lengthOf(few, 3)
      assert.lengthOf(fake.of("training_runs"), 1)
      fake.calls.length = 0
      const ids = (yield* collect(client.listTrainingRuns({ projectId: "p" }))).map((_) => _.trainingRunId)
      assert.deepStrictEqual(ids, all.map((_) => _.training_run_id))
      assert.deepStrictEqual(fake.of("training_runs").map(({ url }) => pageOf(url).offset), [0, 100, 200])
      assert.strictEqual(
        new URL(fake.of("training_runs")[0]!.url).search,
        "?limit=100&offset=0&access_scope=owned&project_id=p"
      )
      fake.calls.length = 0
      const part = yield* collect(client.listTrainingRuns({ offset: 10, limit: 30, pageSize: 20 }))
      assert.lengthOf(part, 30)
      assert.deepStrictEqual(fake.of("training_runs").map(({ url }) => pageOf(url)), [
        { offset: 10, limit: 20 },
        { offset: 30, limit: 10 },
        // the list moved on by one, so that the last page began with an item that was seen
        { offset: 40, limit: 1 }
      ])
    }))

  test("lists without a total end with a short page", (fake) =>
    Effect.gen(function*() {
      fake.on("sessions", ({ url }) => {
        const { limit, offset } = pageOf(url)
        return { json: { sessions: Array.from({ length: 205 }, (_, i) => `s${i}`).slice(offset, offset + limit) } }
      })
      const client = yield* rest
      assert.lengthOf(yield* collect(client.listSessions({ accessScope: "accessible" })), 205)
      assert.lengthOf(fake.of("sessions"), 3)
      assert.include(fake.of("sessions")[0]!.url, "access_scope=accessible")
    }))

  test("searches by cursor", (fake) =>
    Effect.gen(function*() {
      const summary = (id: string) => ({
        session_id: id,
        created_at: "2026-01-01T00:00:00Z",
        owner: "me",
        project_id: "p",
        checkpoints_count: 0
      })
      fake.on("sessions/search", (_, n) => ({
        json: {
          sessions: [summary(`s${n}`)],
          next_cursor: n === 2 ? null : { last_created_at: "t", last_session_id: `s${n}` }
        }
      }))
      const client = yield* rest
      const found = yield* collect(client.searchSessions({ displayName: "x", pageSize: 1 }))
      assert.deepStrictEqual(found.map((_) => _.sessionId), ["s0", "s1", "s2"])
      const [first, second] = fake.of("sessions/search")
      assert.deepStrictEqual(first!.body, { display_name: "x", limit: 1, owner: { type: "own" }, user_metadata: {} })
      assert.deepStrictEqual(second!.body["cursor"], { last_created_at: "t", last_session_id: "s0" })
    }))

  test("refuses what cannot be right before sending it", (fake) =>
    Effect.gen(function*() {
      const client = yield* rest
      fake.calls.length = 0
      const bad = ["weights/a", "tinker://a/b", "tinker://a/other/c", "tinker:///weights/c", "tinker://a/weights/"]
      for (const text of bad) {
        for (
          const call of [
            client.deleteCheckpoint(text),
            client.publishCheckpoint(text),
            client.unpublishCheckpoint(text),
            client.setCheckpointTtl(text, "1 hour"),
            client.getCheckpoint(text),
            client.getWeightsInfo(text),
            client.getCheckpointArchiveUrl(text),
            client.getTrainingRunByPath(text),
            client.copyWeights(text, { projectId: "p" }),
            client.getExternalWeightsUrls(text)
          ]
        ) assert.strictEqual((yield* Effect.flip<unknown, { _tag: string }, never>(call))._tag, "InvalidInput")
      }
      const refused: ReadonlyArray<readonly [Effect.Effect<unknown, { _tag: string; message: string }>, string]> = [
        [client.setCheckpointTtl(path, 0), "ttl: expected whole seconds, from 1, got 0 s"],
        [client.setCheckpointTtl(path, "1500 millis"), "ttl: expected whole seconds, from 1, got 1.5 s"],
        [client.setCheckpointTtl(path, Duration.infinity), "ttl: expected whole seconds, from 1, got no end"],
        [client.getExternalWeightsUrls(path), "external_weights"],
        [client.getTrainingRun(""), "runId: expected an id"],
        [client.copyWeights(path), "projectId"],
        [client.getAuditLog({ day: "yesterday" }), "YYYY-MM-DD"],
        // as from JavaScript
        [client.getTrainingRun("r", { accessScope: "all" as "owned" }), "accessScope: expected owned or accessible"],
        [Stream.runDrain(client.listTrainingRuns({ pageSize: 0 })), "pageSize: expected a whole number from 1 to 1000"],
        [Stream.runDrain(client.listTrainingRuns({ limit: -1 })), "limit"],
        [Stream.runDrain(client.searchSessions({ pageSize: 201 })), "pageSize"],
        [
          client.getBillingUsage(DateTime.unsafeMake(1), DateTime.unsafeMake(1)),
          "endingBefore: expected a time after startingOn"
        ]
      ]
      for (const [call, text] of refused) {
        const error = yield* Effect.flip(call)
        assert.strictEqual(error._tag, "InvalidInput")
        assert.include(error.message, text)
      }
      assert.lengthOf(fake.calls, 0)
    }))

  test("an archive in the making is asked for again every 30 s, six times in all", (fake) =>
    Effect.gen(function*() {
      const endpoint = "training_runs/s:train:0/checkpoints/weights/a/archive"
      const building: Reply = { status: 503, headers: { "x-should-retry": "false" }, json: { detail: "being built" } }
      fake.on(endpoint, (_, n) =>
        n < 5 ? building : {
          status: 302,
          headers: { location: "https://files/x?sig=1", expires: "Thu, 01 Jan 1970 01:00:00 GMT" },
          text: ""
        })
      const client = yield* rest
      const { expires, url } = yield* rushed(client.getCheckpointArchiveUrl(path), "10 seconds")
      assert.strictEqual(url, "https://files/x?sig=1")
      assert.strictEqual(expires.epochMillis, 3_600_000)
      const times = fake.of(endpoint).map(({ at }) => at)
      assert.deepStrictEqual(times.map((at) => at - times[0]!), [0, 30_000, 60_000, 90_000, 120_000, 150_000])
      fake.on(endpoint, () => building)
      const error = yield* Effect.flip(rushed(client.getCheckpointArchiveUrl(path), "10 seconds"))
      assert.strictEqual(error._tag, "ServerError")
    }))

  test("the URL of an archive comes as a redirect, with or without a date, or as JSON", (fake) =>
    Effect.gen(function*() {
      const endpoint = "training_runs/s:train:0/checkpoints/weights/a/archive"
      const client = yield* rest
      fake.on(endpoint, () => ({ status: 302, headers: { location: "/files/x" }, text: "" }))
      const relative = yield* client.getCheckpointArchiveUrl(path)
      assert.strictEqual(relative.url, "http://fake/files/x")
      assert.strictEqual(relative.expires.epochMillis, 900_000)
      fake.on(endpoint, () => ({ json: { url: "https://f/y", expires: "2026-01-01T00:00:00Z" } }))
      assert.strictEqual((yield* client.getCheckpointArchiveUrl(path)).url, "https://f/y")
      fake.on(endpoint, () => ({ status: 302, text: "" }))
      assert.strictEqual((yield* Effect.flip(client.getCheckpointArchiveUrl(path)))._tag, "MalformedResponse")
    }))

  test("the audit log may be elsewhere, where the key does not go", (fake) =>
    Effect.gen(function*() {
      fake.on("audit", () => ({ status: 302, headers: { location: "http://store/api/v1/stored?sig=1" }, text: "" }))
      fake.on(
        "stored",
        () => ({ json: { entries: [{ timestamp: "2026-01-01T00:00:00Z", event: "checkpoint_read" }] } })
      )
      const client = yield* rest
      const entries = yield* client.getAuditLog({ eventType: "checkpoints", day: "2026-01-01" })
      assert.strictEqual(entries[0]!.event, "checkpoint_read")
      assert.include(fake.of("audit")[0]!.url, "event_type=checkpoints&day=2026-01-01")
      assert.isUndefined(fake.of("stored")[0]!.headers["x-api-key"])
    }))

  for (const concurrency of [1, 16]) {
    test(`what a list gives is deleted as it comes, ${concurrency} at once: none is left`, (fake) =>
      Effect.gen(function*() {
        let all = Array.from({ length: 2500 }, (_, i) => `c${i}`)
        fake.on("training_runs", ({ url }) => {
          const { limit, offset } = pageOf(url)
          return {
            json: {
              training_runs: all.slice(offset, offset + limit).map((id) => run(id)),
              cursor: { offset, limit, total_count: all.length }
            }
          }
        })
        const client = yield* rest
        const seen: Array<string> = []
        const forget = ({ trainingRunId }: { readonly trainingRunId: string }) =>
          Effect.sync(() => {
            seen.push(trainingRunId)
            all = all.filter((id) => id !== trainingRunId)
          })
        yield* Stream.runDrain(Stream.mapEffect(client.listTrainingRuns({ pageSize: 300 }), forget, { concurrency }))
        assert.lengthOf(all, 0)
        assert.strictEqual(new Set(seen).size, seen.length)
      }))
  }

  for (
    const [name, reply] of [
      ["425", { status: 425, json: {} }],
      ["202", { status: 202, json: {} }],
      ["a success that says so", { json: { status: "generating" } }]
    ] as const
  ) {
    test(`an archive in the making is waited for, three minutes at most: ${name}`, (fake) =>
      Effect.gen(function*() {
        const endpoint = "training_runs/s:train:0/checkpoints/weights/a/archive"
        const ready: Reply = { status: 302, headers: { location: "http://files/x" }, json: {} }
        fake.on(endpoint, (_, n) => n < 3 ? reply : ready)
        const client = yield* rest
        assert.strictEqual((yield* rushed(client.getCheckpointArchiveUrl(path), "5 seconds")).url, "http://files/x")
        assert.deepStrictEqual(fake.of(endpoint).map(({ at }) => at), [0, 30_000, 60_000, 90_000])
        fake.on(endpoint, () => reply)
        const before = fake.of(endpoint).length
        yield* Effect.flip(rushed(client.getCheckpointArchiveUrl(path), "5 seconds"))
        assert.strictEqual(fake.of(endpoint).length - before, 7)
      }))
  }

  test("a trace that is never ready ends after ten minutes", (fake) =>
    Effect.gen(function*() {
      fake.on("sessions/s/trace_export", () => ({ json: { status: "pending" } }))
      const client = yield* rest
      const error = yield* Effect.flip(rushed(client.exportSessionTrace("s"), "5 seconds"))
      assert.strictEqual(error._tag, "RequestTimeout")
      assert.strictEqual(fake.of("sessions/s/trace_export").at(-1)!.at, 600_000)
    }))

  for (const ttl of ["soon", Number.NaN, Number.POSITIVE_INFINITY, "500 millis", "0 seconds"]) {
    test(`a time to live of ${ttl} is refused as input`, (fake) =>
      Effect.gen(function*() {
        const client = yield* rest
        const before = fake.calls.length
        const error = yield* Effect.flip(client.setCheckpointTtl(path, ttl as Duration.DurationInput))
        assert.strictEqual(error._tag, "InvalidInput")
        assert.strictEqual(fake.calls.length, before)
      }))
  }

  test("a trace is waited for; one that fails says why", (fake) =>
    Effect.gen(function*() {
      const states = [{ status: "pending" }, { status: "pending" }, { status: "ready", url: "https://t" }]
      fake.on("sessions/s/trace_export", (_, n) => ({ json: states[n] ?? { status: "failed", error: "no events" } }))
      const client = yield* rest
      assert.strictEqual(yield* rushed(client.exportSessionTrace("s"), "5 seconds"), "https://t")
      assert.deepStrictEqual(fake.of("sessions/s/trace_export").map(({ at }) => at), [0, 5_000, 10_000])
      assert.include((yield* Effect.flip(client.exportSessionTrace("s"))).message, "no events")
    }))

  test("the holder of the key is read from the token", (fake) =>
    Effect.gen(function*() {
      const claims = btoa(JSON.stringify({ sub: "tml:user:1", org_id: "o", email: "" }))
      fake.on("auth/token", () => ({ json: { jwt: `eyJ.${claims}.x` } }))
      const client = yield* rest
      assert.deepStrictEqual(yield* client.whoami, {
        userUrn: "tml:user:1",
        organizationUrn: "tml:organization:o",
        email: undefined
      })
      fake.on("auth/token", () => ({ json: { jwt: "eyJ.e30.x" } }))
      assert.strictEqual((yield* Effect.flip(client.whoami))._tag, "MalformedResponse")
    }))

  test("a copy carries its token in a header only", (fake) =>
    Effect.gen(function*() {
      fake.on("copy_weights", () => ({ json: { tinker_path: "tinker://c/weights/a" } }))
      const client = yield* rest
      const token = Redacted.make("tml-other")
      const copy = yield* client.copyWeights(path, { projectId: "p", ttl: "2 hours", weightsAccessToken: token })
      assert.strictEqual(copy, "tinker://c/weights/a")
      const [call] = fake.of("copy_weights")
      assert.strictEqual(call!.headers["x-tinker-weights-access-token"], "tml-other")
      assert.deepStrictEqual(call!.body, { source_path: path, destination_project_id: "p", ttl_seconds: 7200 })
    }))

  test("billing is asked for in whole seconds of UTC", (fake) =>
    Effect.gen(function*() {
      fake.on("billing/usage/events", () => ({ json: { data: [], sessions: {} } }))
      const client = yield* rest
      yield* client.getBillingUsage(
        DateTime.unsafeMake("2026-07-13T00:00:00Z"),
        DateTime.unsafeMake("2026-07-14T00:00:00Z")
      )
      assert.include(
        fake.of("billing/usage/events")[0]!.url,
        "starting_on=2026-07-13T00%3A00%3A00Z&ending_before=2026-07-14T00%3A00%3A00Z"
      )
    }))

  it.scoped("names what it was doing, never the key", () => {
    const fake = makeFake()
    fake.on("training_runs/r", () => ({ status: 404, json: { detail: "no such run" } }))
    return Effect.gen(function*() {
      const client = yield* rest
      const error = yield* Effect.flip(client.getTrainingRun("r"))
      assert.strictEqual(error._tag, "NotFound")
      assert.include(error.message, "get training run (r)")
      assert.notInclude(JSON.stringify(client), "tml-secret")
    }).pipe(Effect.provide(layerOver(fake)))
  })
})

describe("RestClient and the embedded server", () => {
  it.scopedLive("looks after what training leaves behind", () =>
    Effect.gen(function*() {
      const service = yield* ServiceClient.ServiceClient
      const client = yield* RestClient.RestClient
      const training = yield* service.createLoraTrainingClient({ baseModel: "tinkex/nano-random", rank: 4 })
      const runId = training.modelId
      const state = yield* Effect.flatMap(training.saveState("a", { userMetadata: { note: "first" } }), Future.await)
      const sampler = yield* Effect.flatMap(training.saveWeightsForSampler("b", { ttl: "1 hour" }), Future.await)
      const samplerClient = yield* service.createSamplingClient({ modelPath: sampler.path })

      const runs = yield* collect(client.listTrainingRuns())
      assert.deepStrictEqual(runs.map((_) => _.trainingRunId), [runId])
      assert.strictEqual((yield* client.trainingRunsPage({ limit: 0 })).cursor.totalCount, 1)
      const found = yield* client.getTrainingRunByPath(state.path)
      assert.strictEqual(found.lastCheckpoint?.tinkerPath, state.path)
      assert.isFalse(found.corrupted)

      const own = yield* collect(client.listCheckpoints(runId))
      const all = yield* collect(client.listUserCheckpoints({ pageSize: 1 }))
      assert.deepStrictEqual(own, all)
      assert.deepStrictEqual(new Set(all.map((_) => _.tinkerPath)), new Set([state.path, sampler.path]))
      const info = yield* client.getCheckpoint(state.path)
      assert.deepStrictEqual(info.userMetadata, { note: "first" })
      assert.strictEqual((yield* client.getWeightsInfo(state.path)).loraRank, 4)

      yield* client.publishCheckpoint(state.path)
      assert.isTrue((yield* client.getCheckpoint(state.path)).public)
      assert.strictEqual((yield* Effect.flip(client.publishCheckpoint(state.path)))._tag, "Conflict")
      yield* client.unpublishCheckpoint(state.path)
      assert.isFalse((yield* client.getCheckpoint(state.path)).public)

      yield* client.setCheckpointTtl(state.path, "2 hours")
      assert.isDefined((yield* client.getCheckpoint(state.path)).expiresAt)
      yield* client.setCheckpointTtl(sampler.path, null)
      assert.isUndefined((yield* client.getCheckpoint(sampler.path)).expiresAt)

      const archive = yield* client.getCheckpointArchiveUrl(sampler.path)
      assert.match(archive.url, /\/archive\.tar$/)

      assert.include(yield* collect(client.listSessions()), service.sessionId)
      const session = yield* client.getSession(service.sessionId)
      assert.deepStrictEqual(session.trainingRunIds, [runId])
      assert.strictEqual((yield* client.getSampler(samplerClient.samplingSessionId)).modelPath, sampler.path)
      yield* client.assignSessionProject(service.sessionId, "p")
      const [hit] = yield* collect(client.searchSessions({ projectIds: ["p"] }))
      assert.strictEqual(hit?.checkpointsCount, 2)
      assert.strictEqual((yield* Effect.flip(client.exportSessionTrace(service.sessionId)))._tag, "RequestFailed")

      const copy = yield* client.copyWeights(state.path, { projectId: "archive" })
      assert.notStrictEqual(copy, state.path)
      assert.strictEqual((yield* client.getCheckpoint(copy)).baseModel, "tinkex/nano-random")

      assert.strictEqual((yield* client.whoami).organizationUrn, "tml:organization:local")
      assert.deepStrictEqual(yield* client.getAuditLog(), [])
      assert.strictEqual((yield* client.getCheckpointStorage()).data[0]?.checkpointCount, 3)
      const usage = yield* client.getBillingUsage(DateTime.unsafeMake(0), DateTime.unsafeMake(3_600_000))
      assert.deepStrictEqual(usage.data, [])

      yield* client.deleteCheckpoint(state.path)
      const gone = yield* Effect.flip(client.getCheckpoint(state.path))
      assert.strictEqual(gone._tag, "NotFound")
      assert.include(gone.message, state.path)
    }).pipe(Effect.provide(Layer.provideMerge(RestClient.layer, TestServer.layer()))))
})
