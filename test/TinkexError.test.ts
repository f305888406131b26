import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fc from "effect/FastCheck"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import { MalformedMessage } from "../src/protocol/MalformedMessage.js"
import * as TinkexError from "../src/TinkexError.js"

const now = Date.UTC(2026, 10, 21, 12, 0, 0)

const answer = (
  status: number,
  headers: Record<string, string> = {},
  options: { readonly body?: string; readonly requestBytes?: number } = {}
) =>
  TinkexError.fromStatus({
    operation: "sample (sampling session s)",
    origin: "http://127.0.0.1:8787",
    status,
    headers,
    body: options.body ?? "{\"detail\":\"why\"}",
    nowMillis: now,
    requestBytes: options.requestBytes
  })

const requestError = (cause: unknown, reason: "Transport" | "Encode" | "InvalidUrl" = "Transport") =>
  new HttpClientError.RequestError({
    request: HttpClientRequest.post("http://user:pass@127.0.0.1:8787/api/v1/asample").pipe(
      HttpClientRequest.setHeader("x-api-key", "tml-secret"),
      HttpClientRequest.bodyUnsafeJson({ prompt: "a secret prompt" })
    ),
    reason,
    cause
  })

const coded = (code: string, cause?: unknown): Error =>
  Object.assign(new Error("words with tml-secret"), { code, cause })

const classes: ReadonlyArray<TinkexError.OperationClass> = [
  "training",
  "session",
  "service",
  "sampling",
  "poll",
  "telemetry"
]

/** Every error that no status makes. */
const local: ReadonlyArray<TinkexError.TinkexError> = [
  new TinkexError.ConfigurationError({ setting: "TINKER_API_KEY", detail: "it is not set" }),
  new TinkexError.MalformedResponse({ operation: "o", detail: "d", requestId: "r" }),
  new TinkexError.RequestFailed({ operation: "o", requestId: "r", category: "user", detail: "d" }),
  new TinkexError.RequestFailed({ operation: "o", requestId: "r", category: "server", detail: "d" }),
  new TinkexError.FutureExpired({ operation: "o", requestId: "r", detail: "d" }),
  new TinkexError.FutureTimeout({
    operation: "o",
    requestId: "r",
    age: Duration.minutes(30),
    polls: 7,
    lastQueueState: "paused_capacity",
    reason: "busy"
  }),
  new TinkexError.CircuitOpen({
    operation: "o",
    circuit: "training",
    reopensIn: Duration.seconds(3),
    certainlyNotSent: true
  }),
  new TinkexError.ClientClosed({ operation: "o", client: "training client m", certainlyNotSent: true }),
  new TinkexError.InvalidInput({ field: "f", expected: "e", actual: "a" }),
  new TinkexError.RequestTimeout({ operation: "o", timeout: Duration.seconds(60), detail: "" }),
  new TinkexError.ConnectionError({
    operation: "o",
    origin: "http://h",
    reason: "refused",
    certainlyNotSent: true,
    detail: "ECONNREFUSED"
  })
]

const word = (disposition: TinkexError.Disposition): string => {
  const { retry } = disposition
  switch (retry._tag) {
    case "Backoff":
      return retry.atMost === undefined ? "Backoff" : `Backoff, ${retry.atMost} times`
    case "After":
      return `After ${Duration.toMillis(retry.delay)}`
    case "Pause":
      return `Pause ${Duration.toMillis(retry.delay)}/${Duration.toMillis(retry.limit)}`
    case "Within":
      return `Within ${Duration.toMillis(retry.window)}`
    default:
      return retry._tag
  }
}

describe("the truth table", () => {
  type Row = readonly [
    status: number,
    tag: string,
    retry: string,
    breaker: string,
    limiterMillis: number | undefined,
    onPolls?: string
  ]

  const rows: ReadonlyArray<Row> = [
    [302, "UnexpectedStatus", "No", "success", undefined, "Backoff, 3 times"],
    [400, "BadRequest", "No", "success", undefined, "Backoff, 3 times"],
    [401, "Unauthorized", "No", "success", undefined, "Backoff, 3 times"],
    [402, "BillingPaused", "Pause 5000/3600000", "ignore", undefined],
    [403, "PermissionDenied", "No", "success", undefined, "Backoff, 3 times"],
    [404, "NotFound", "No", "success", undefined, "Within 5000"],
    [408, "RequestTimeout", "Backoff", "ignore", undefined, "Pending"],
    [409, "Conflict", "No", "success", undefined, "Backoff, 3 times"],
    [410, "BadRequest", "No", "success", undefined, "Resubmit"],
    [413, "BadRequest", "No", "success", undefined, "Backoff, 3 times"],
    [415, "BadRequest", "No", "success", undefined, "Backoff, 3 times"],
    [422, "BadRequest", "No", "success", undefined, "Backoff, 3 times"],
    [425, "BadRequest", "No", "success", undefined, "Backoff, 3 times"],
    [429, "RateLimited", "After 1000", "ignore", 1000],
    [500, "ServerError", "Backoff", "ignore", undefined],
    [501, "ServerError", "Backoff", "ignore", undefined],
    [502, "ServerError", "Backoff", "failure", undefined],
    [503, "ServerError", "Backoff", "failure", undefined],
    [504, "ServerError", "Backoff", "failure", undefined]
  ]

  for (const operationClass of classes) {
    for (const [status, tag, retry, breaker, limiter, onPolls] of rows) {
      const expected = operationClass === "poll" ? onPolls ?? retry : retry
      it(`${status} on ${operationClass}: ${expected}, unless x-should-retry says otherwise`, () => {
        const error = answer(status)
        assert.strictEqual(error._tag, tag)
        const plain = TinkexError.disposition(error, operationClass)
        assert.strictEqual(word(plain), expected)
        assert.strictEqual(plain.breaker, operationClass === "poll" && status === 408 ? "success" : breaker)
        assert.strictEqual(Option.getOrUndefined(Option.map(plain.limiter, Duration.toMillis)), limiter)
        assert.isFalse(plain.certainlyNotSent)
        assert.strictEqual(
          plain.userError,
          status >= 400 && status < 500 && ![402, 408, 429].includes(status) &&
            !(status === 410 && operationClass === "poll")
        )
        const never = TinkexError.disposition(answer(status, { "x-should-retry": "false" }), operationClass)
        assert.strictEqual(word(never), "No")
        assert.strictEqual(never.breaker, plain.breaker)
        const always = TinkexError.disposition(answer(status, { "x-should-retry": " TRUE " }), operationClass)
        assert.strictEqual(
          word(always),
          ["No", "Resubmit", "Backoff, 3 times"].includes(expected) ? "Backoff" : expected
        )
      })
    }

    it(`connection errors on ${operationClass}`, () => {
      const of = (reason: TinkexError.ConnectionReason, certainlyNotSent: boolean) =>
        TinkexError.disposition(
          new TinkexError.ConnectionError({ operation: "o", origin: "h", reason, certainlyNotSent, detail: "" }),
          operationClass
        )
      for (const reason of ["refused", "dns", "reset", "timeout", "tls", "unknown"] as const) {
        for (const sent of [true, false]) {
          assert.deepStrictEqual(of(reason, sent), {
            retry: { _tag: "Backoff" },
            breaker: "failure",
            limiter: Option.none(),
            certainlyNotSent: sent,
            userError: false
          })
        }
      }
      assert.strictEqual(word(of("edge", false)), "Backoff")
      assert.strictEqual(of("edge", false).breaker, "ignore")
      assert.deepStrictEqual(of("request", true), {
        retry: { _tag: "No" },
        breaker: "ignore",
        limiter: Option.none(),
        certainlyNotSent: true,
        userError: true
      })
    })

    it(`errors that are not of the wire, on ${operationClass}`, () => {
      const table: Readonly<
        Record<string, readonly [retry: string, breaker: string, notSent: boolean, user: boolean]>
      > = {
        ConfigurationError: ["No", "ignore", true, true],
        MalformedResponse: ["Backoff, 3 times", "success", false, false],
        FutureExpired: ["Resubmit", "success", false, false],
        FutureTimeout: ["No", "ignore", false, false],
        CircuitOpen: ["No", "ignore", true, false],
        ClientClosed: ["No", "ignore", true, true],
        InvalidInput: ["No", "ignore", true, true],
        RequestTimeout: ["Backoff", "failure", false, false]
      }
      for (const error of local) {
        const disposition = TinkexError.disposition(error, operationClass)
        const seen = [word(disposition), disposition.breaker, disposition.certainlyNotSent, disposition.userError]
        if (error._tag === "RequestFailed") {
          assert.deepStrictEqual(seen, ["No", "success", false, error.category === "user"])
        } else if (error._tag !== "ConnectionError") {
          assert.deepStrictEqual(seen, [...table[error._tag]!], error._tag)
        }
      }
    })
  }
})

describe("waits", () => {
  const after = (status: number, headers: Record<string, string>, requestBytes = 0) =>
    TinkexError.disposition(answer(status, headers, { requestBytes }), "training")

  it("after a 429 are the server's up to 60 s, and beyond that the error is final", () => {
    assert.strictEqual(word(after(429, { "retry-after": "7" })), "After 7000")
    assert.strictEqual(word(after(429, { "retry-after": "60" })), "After 60000")
    const long = after(429, { "retry-after": "61" })
    assert.strictEqual(word(long), "No")
    assert.deepStrictEqual(long.limiter, Option.some(Duration.seconds(60)))
  })

  it("after a 429 without a wait, or with one of nothing, go by the size of the request", () => {
    for (const headers of [{}, { "retry-after": "0" }, { "retry-after": "soon" }]) {
      assert.strictEqual(word(after(429, headers as Record<string, string>)), "After 1000")
      assert.strictEqual(word(after(429, headers as Record<string, string>, 128 * 1024)), "After 1000")
      assert.strictEqual(word(after(429, headers as Record<string, string>, 128 * 1024 + 1)), "After 5000")
    }
    assert.strictEqual(word(TinkexError.disposition(answer(429), "sampling")), "After 1000")
  })

  it("of other answers are honoured between 0 and 60 s", () => {
    for (const status of [408, 500, 503]) {
      assert.strictEqual(word(after(status, { "retry-after-ms": "250" })), "After 250")
      assert.strictEqual(word(after(status, { "retry-after": "0" })), "Backoff")
      assert.strictEqual(word(after(status, { "retry-after": "61" })), "Backoff")
    }
    assert.strictEqual(word(after(400, { "retry-after": "2" })), "No")
    assert.strictEqual(word(after(400, { "retry-after": "2", "x-should-retry": "true" })), "After 2000")
    assert.strictEqual(
      word(TinkexError.disposition(
        new TinkexError.FutureExpired({ operation: "o", requestId: "r", detail: "", shouldRetry: true }),
        "poll"
      )),
      "Backoff"
    )
  })

  it("of x-should-retry false on a 429 still hold the limiter", () => {
    const never = after(429, { "x-should-retry": "false", "retry-after": "3" })
    assert.strictEqual(word(never), "No")
    assert.deepStrictEqual(never.limiter, Option.some(Duration.seconds(3)))
  })
})

describe("retryAfterOf", () => {
  const millis = (headers: Record<string, string>) =>
    Option.getOrUndefined(Option.map(TinkexError.retryAfterOf(headers, now), Duration.toMillis))

  it("reads milliseconds, seconds and dates, the finest first", () => {
    assert.strictEqual(millis({ "retry-after-ms": "1500", "retry-after": "9" }), 1500)
    assert.strictEqual(millis({ "retry-after-ms": "x", "retry-after": "9" }), 9000)
    assert.strictEqual(millis({ "retry-after": " 1.5 " }), 1500)
    assert.strictEqual(millis({ "retry-after": "Sat, 21 Nov 2026 12:00:30 GMT" }), 30_000)
    assert.strictEqual(millis({ "retry-after": "Sat, 21 Nov 2026 11:00:00 GMT" }), 0)
  })

  it("is nothing for what cannot be read", () => {
    for (const text of ["", "-1", "soon", "1e3", "NaN", "Infinity", "12:00"]) {
      assert.isUndefined(millis({ "retry-after": text }), text)
    }
    assert.isUndefined(millis({}))
  })

  it("is never negative, whatever comes", () => {
    const text = fc.oneof(
      fc.string(),
      fc.double().map(String),
      fc.date({ noInvalidDate: true }).map((date) => date.toUTCString())
    )
    fc.assert(fc.property(text, text, fc.integer(), (ms, after, clock) => {
      const found = TinkexError.retryAfterOf({ "retry-after-ms": ms, "retry-after": after }, clock)
      assert.isTrue(Option.isNone(found) || Duration.toMillis(found.value) >= 0)
    }))
  })
})

describe("fromStatus", () => {
  it("keeps the operation, the status, the server's words and its id of the request", () => {
    const error = answer(503, { "x-request-id": "req-1" })
    assert.strictEqual(
      error.message,
      "sample (sampling session s): 503 the service failed: why (request req-1). Try again later; if it stays, report the request id"
    )
    for (const header of ["x-tinker-request-id", "x-request-id", "request-id"]) {
      assert.strictEqual(TinkexError.requestIdOf({ [header]: "r" }), "r")
    }
  })

  it("takes a 400 without a body for a gateway's, unless the answer speaks of retries", () => {
    const error = answer(400, {}, { body: "" })
    assert.strictEqual(error._tag, "ConnectionError")
    assert.strictEqual(error._tag === "ConnectionError" && error.reason, "edge")
    assert.strictEqual(answer(400, { "x-should-retry": "false" }, { body: "" })._tag, "BadRequest")
    assert.strictEqual(answer(422, {}, { body: "" })._tag, "BadRequest")
  })

  it("says in every message what was being done, what came back and what to do", () => {
    for (const status of [302, 400, 401, 402, 403, 404, 408, 409, 410, 422, 429, 500]) {
      const { message } = answer(status)
      assert.match(message, new RegExp(`^sample \\(sampling session s\\): ${status} .*: why\\. [A-Z]`), message)
      assert.notInclude(answer(status, {}, { body: " " }).message, ": .")
    }
  })
})

describe("detailOf", () => {
  it("finds the server's words in every usual body", () => {
    const cases: ReadonlyArray<readonly [unknown, string]> = [
      [{ detail: "why" }, "why"],
      [{ error: { message: "why" } }, "why"],
      [{ message: "why" }, "why"],
      [{ detail: null, error: "why" }, "why"],
      ["why", "why"],
      [["a", "b"], "a; b"],
      [{ detail: { msg: "why", loc: ["body", 3] } }, "body.3: why"],
      [{ code: 3 }, ""],
      [3, ""],
      [null, ""],
      [[1, null, {}], ""]
    ]
    for (const [body, words] of cases) assert.strictEqual(TinkexError.detailOf(JSON.stringify(body)), words)
    assert.strictEqual(TinkexError.detailOf(" plain \n"), "plain")
    assert.strictEqual(TinkexError.detailOf("<!DOCTYPE html><p>x"), "an HTML page")
    assert.strictEqual(TinkexError.detailOf(""), "")
    assert.strictEqual(TinkexError.detailOf("x".repeat(600)).length, 503)
  })

  it("shows where a value was rejected, never the value", () => {
    const body = { detail: [{ loc: ["body", "prompt", 0], msg: "not a number", input: "a secret prompt" }, "and more"] }
    assert.strictEqual(TinkexError.detailOf(JSON.stringify(body)), "body.prompt.0: not a number; and more")
  })
})

describe("fromHttpClientError", () => {
  const of = (cause: unknown) => TinkexError.fromHttpClientError(requestError(cause), "sample")

  it("knows how a connection failed, and whether the request can have left", () => {
    const cases: ReadonlyArray<readonly [string, TinkexError.ConnectionReason, boolean]> = [
      ["ECONNREFUSED", "refused", true],
      ["EHOSTUNREACH", "refused", true],
      ["ENOTFOUND", "dns", true],
      ["EAI_AGAIN", "dns", true],
      ["UND_ERR_CONNECT_TIMEOUT", "timeout", true],
      ["ETIMEDOUT", "timeout", false],
      ["UND_ERR_HEADERS_TIMEOUT", "timeout", false],
      ["ECONNRESET", "reset", false],
      ["EPIPE", "reset", false],
      ["UND_ERR_SOCKET", "reset", false],
      ["UND_ERR_CLOSED", "reset", true],
      ["UND_ERR_DESTROYED", "reset", false],
      ["ERR_INVALID_URL", "request", true],
      ["SELF_SIGNED_CERT_IN_CHAIN", "tls", true],
      ["ERR_TLS_CERT_ALTNAME_INVALID", "tls", true],
      ["ERR_SSL_WRONG_VERSION_NUMBER", "tls", true],
      ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "tls", false],
      ["EPROTO", "tls", false],
      ["EMFILE", "local", false],
      ["EPERM", "local", false],
      ["HPE_HEADER_OVERFLOW", "protocol", false],
      ["UND_ERR_HEADERS_OVERFLOW", "protocol", false],
      ["ENEW", "unknown", false],
      ["constructor", "unknown", false]
    ]
    for (const [code, reason, certainlyNotSent] of cases) {
      const error = of(coded(code))
      assert.deepInclude(
        error,
        { _tag: "ConnectionError", reason, certainlyNotSent, origin: "http://127.0.0.1:8787" },
        code
      )
    }
  })

  it("what the system was asked to do tells whether a connection stood", () => {
    for (const code of ["ETIMEDOUT", "EHOSTUNREACH", "ECONNRESET", "EMFILE", "EPERM"]) {
      for (const syscall of ["connect", "getaddrinfo"]) {
        assert.isTrue(
          Reflect.get(of(Object.assign(coded(code), { syscall })), "certainlyNotSent"),
          `${syscall} ${code}`
        )
      }
      for (const syscall of ["read", "write"]) {
        assert.isFalse(
          Reflect.get(of(Object.assign(coded(code), { syscall })), "certainlyNotSent"),
          `${syscall} ${code}`
        )
      }
    }
    const tries = [coded("ECONNREFUSED"), Object.assign(coded("ETIMEDOUT"), { syscall: "connect" })]
    assert.deepInclude(of(new AggregateError(tries)), { reason: "refused", certainlyNotSent: true })
    assert.deepInclude(of(new AggregateError([...tries, coded("ECONNRESET")])), { certainlyNotSent: false })
  })

  it("tells codes that nobody here knows by their own name, and nothing else", () => {
    assert.deepInclude(of(coded("ENEW")), { reason: "unknown", detail: "ENEW" })
    assert.deepInclude(of(new Error("x", { cause: coded("UND_ERR_NEW") })), { detail: "UND_ERR_NEW" })
    for (const code of ["a secret prompt", "", "X".repeat(80), "lower"]) {
      assert.deepInclude(of(coded(code)), { detail: "" })
    }
  })

  it("looks down the chain of causes and into aggregates, and stops in a circle", () => {
    const fetchFailed = Object.assign(new TypeError("fetch failed"), { cause: coded("ECONNREFUSED") })
    assert.deepInclude(of(fetchFailed), { reason: "refused" })
    const aggregate = Object.assign(new AggregateError([new Error("first"), coded("ECONNREFUSED")], "both"), {})
    assert.deepInclude(of(aggregate), { reason: "refused" })
    assert.deepInclude(of(coded("ENEW", coded("ENOTFOUND"))), { reason: "dns" })
    const circle = new Error("circle")
    circle.cause = circle
    assert.deepInclude(of(circle), { reason: "unknown", detail: "" })
    for (const cause of [undefined, null, "text", new Error("no code"), { code: 5 }]) {
      assert.deepInclude(of(cause), { reason: "unknown", certainlyNotSent: false })
    }
  })

  it("knows requests that could not be formed", () => {
    for (const [reason, detail] of [["Encode", "encoded"], ["InvalidUrl", "invalid"]] as const) {
      const error = TinkexError.fromHttpClientError(requestError(undefined, reason), "sample")
      assert.deepInclude(error, { _tag: "ConnectionError", reason: "request", certainlyNotSent: true })
      assert.include(error.message, detail)
    }
    const nowhere = new HttpClientError.RequestError({
      request: HttpClientRequest.get("nowhere"),
      reason: "InvalidUrl"
    })
    assert.include(TinkexError.fromHttpClientError(nowhere, "sample").message, "an invalid URL")
  })

  it("tells answers that cannot be read from connections that broke while reading", () => {
    const { request } = requestError(undefined)
    const response = HttpClientResponse.fromWeb(
      request,
      new Response("", { status: 200, headers: { "x-request-id": "r" } })
    )
    const empty = new HttpClientError.ResponseError({ request, response, reason: "EmptyBody" })
    assert.deepInclude(TinkexError.fromHttpClientError(empty, "sample"), {
      _tag: "MalformedResponse",
      detail: "it has no body",
      status: 200,
      requestId: "r"
    })
    const odd = new HttpClientError.ResponseError({
      request,
      response,
      reason: "Decode",
      cause: new SyntaxError("a secret prompt")
    })
    assert.deepInclude(TinkexError.fromHttpClientError(odd, "sample"), { detail: "its body could not be read" })
    const cut = new HttpClientError.ResponseError({ request, response, reason: "Decode", cause: coded("ECONNREFUSED") })
    assert.deepInclude(TinkexError.fromHttpClientError(cut, "sample"), {
      _tag: "ConnectionError",
      reason: "refused",
      certainlyNotSent: false
    })
    // what browsers say: no code
    const torn = new HttpClientError.ResponseError({ request, response, reason: "Decode", cause: new TypeError("x") })
    const error = TinkexError.fromHttpClientError(torn, "sample")
    assert.deepInclude(error, { _tag: "ConnectionError", reason: "reset", detail: "the answer broke off" })
    assert.strictEqual(TinkexError.disposition(error, "training").retry._tag, "Backoff")
  })

  it("keeps keys, prompts and the causes' own words out of everything that is shown", () => {
    for (const code of ["ECONNREFUSED", "ECONNRESET", "ENEW"]) {
      const error = of(coded(code))
      const shown = [error.message, String(error), JSON.stringify(error), error.stack, Cause.pretty(Cause.fail(error))]
        .join()
      assert.notMatch(shown, /secret|user:pass/)
    }
  })
})

describe("every error", () => {
  const all = [...local, ...[302, 400, 401, 402, 403, 404, 408, 409, 429, 500].map((status) => answer(status))]

  it("carries the mark, a tag, a message with advice and plain JSON", () => {
    for (const error of all) {
      assert.isTrue(TinkexError.isTinkexError(error))
      assert.instanceOf(error, Error)
      assert.isAbove(error.message.length, 10)
      const json = JSON.parse(JSON.stringify(error)) as Record<string, unknown>
      assert.strictEqual(json["_tag"], error._tag)
      for (const value of Object.values(json)) assert.notStrictEqual(typeof value, "object")
    }
    assert.isFalse(TinkexError.isTinkexError(new Error("other")))
    assert.isFalse(TinkexError.isTinkexError(undefined))
  })

  it("reads well without the parts that are not known", () => {
    const messages: ReadonlyArray<readonly [TinkexError.TinkexError, string]> = [
      [
        new TinkexError.RequestTimeout({ operation: "poll", timeout: Duration.seconds(45), detail: "" }),
        "poll: no answer within 45s. Try again, or raise the timeout"
      ],
      [
        new TinkexError.RequestTimeout({ operation: "save", status: 408, detail: "slow", requestId: "r" }),
        "save: 408 the service gave up waiting: slow (request r). Try again, or raise the timeout"
      ],
      [
        new TinkexError.RequestTimeout({ operation: "save", detail: "" }),
        "save: the service gave up waiting. Try again, or raise the timeout"
      ],
      [
        new TinkexError.FutureTimeout({
          operation: "forward_backward (model m, seq 3)",
          requestId: "r",
          age: Duration.minutes(30),
          polls: 60,
          lastQueueState: "active"
        }),
        "forward_backward (model m, seq 3): no result after 30m and 60 polls; the queue was active (request r). Await it again to go on asking, or raise timeouts.future"
      ],
      [
        new TinkexError.FutureExpired({ operation: "sample", requestId: "r", detail: "" }),
        "sample: the result is gone (request r). Sample again, or go back to a checkpoint"
      ],
      [
        new TinkexError.ConnectionError({
          operation: "o",
          origin: "http://h",
          reason: "unknown",
          certainlyNotSent: false,
          detail: ""
        }),
        "o: no connection to http://h (unknown). Check the network and the base URL"
      ],
      [
        new TinkexError.MalformedResponse({ operation: "o", detail: "d" }),
        "o: the answer could not be read: d. The service may speak a newer protocol; check the base URL and the version of tinkex"
      ]
    ]
    for (const [error, message] of messages) assert.strictEqual(error.message, message)
  })

  it.effect("is caught by its tag", () =>
    Effect.gen(function*() {
      const caught = yield* Effect.catchTag(Effect.fail(answer(429, { "retry-after": "2" })), "RateLimited", (error) =>
        Effect.succeed(Duration.toSeconds(error.retryAfter)))
      assert.strictEqual(caught, 2)
    }))

  it("of a message that does not decode names the operation too", () => {
    const error = TinkexError.fromMalformedMessage(
      new MalformedMessage({ messageType: "SampleResponse", detail: "it ends early", cause: new Error("secret") }),
      "sample",
      "r"
    )
    assert.include(
      error.message,
      "sample: the answer could not be read: SampleResponse could not be decoded: it ends early"
    )
    assert.strictEqual(error.requestId, "r")
    const inner = new MalformedMessage({ messageType: "X", detail: "d", cause: new Error("secret") })
    assert.isTrue(TinkexError.isTinkexError(inner))
    assert.deepStrictEqual(inner.toJSON(), { _tag: "MalformedMessage", messageType: "X", detail: "d" })
  })
})

describe("failureOf", () => {
  it("is the expected error of a cause, if there is one", () => {
    const error = answer(500)
    assert.strictEqual(TinkexError.failureOf(Cause.sequential(Cause.die("x"), Cause.fail(error))), error)
    assert.isUndefined(TinkexError.failureOf(Cause.die("x")))
    assert.isUndefined(TinkexError.failureOf(Cause.interrupt(FiberId.none)))
  })
})
