/**
 * Carries out what the injector asks for on the way of a request.
 *
 * @internal
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Fault } from "../FaultInjector.js"

/**
 * Answers that are not to be sent: the connection is broken instead.
 *
 * @internal
 */
export const isReset = (response: HttpServerResponse.HttpServerResponse): boolean =>
  response.headers[resetHeader] !== undefined

const resetHeader = "x-tinkex-reset"

/** @internal */
const reset = HttpServerResponse.empty({ status: 503, headers: { [resetHeader]: "1" } })

/**
 * Faults in front of a request: an answer, unless all of them only wait.
 *
 * @internal
 */
export const beforeRequest = (
  faults: ReadonlyArray<Fault>
): Effect.Effect<HttpServerResponse.HttpServerResponse | undefined> =>
  Effect.gen(function*() {
    for (const fault of faults) {
      if (fault._tag === "Delay") yield* Effect.sleep(fault.duration)
      else if (fault._tag === "Respond") return respond(fault)
      else if (fault._tag === "Reset") return reset
    }
    return undefined
  })

/**
 * Faults on an answer that is about to be sent.
 *
 * @internal
 */
export const onReply = (
  response: HttpServerResponse.HttpServerResponse,
  faults: ReadonlyArray<Fault>
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.gen(function*() {
    let current = response
    for (const fault of faults) {
      switch (fault._tag) {
        case "Delay":
          yield* Effect.sleep(fault.duration)
          break
        case "Respond":
          current = respond(fault)
          break
        case "Reset":
          return reset
        case "Truncate":
          current = withBytes(current, (bytes) =>
            Stream.concat(
              Stream.make(bytes.subarray(0, fault.bytes)),
              // the length was announced; what is missing breaks the connection
              Stream.die("truncated by the fault injector")
            ))
          break
        case "Malform":
          current = HttpServerResponse.uint8Array(Uint8Array.of(0x7b, 0xff, 0xff, 0xff), {
            status: current.status,
            contentType: current.headers["content-type"] ?? "application/json"
          })
          break
        case "Drip":
          current = withBytes(current, (bytes) =>
            Stream.range(0, Math.max(0, Math.ceil(bytes.length / fault.bytes) - 1)).pipe(
              Stream.mapEffect((i) =>
                Effect.as(
                  i === 0 ? Effect.void : Effect.sleep(fault.interval),
                  bytes.subarray(i * fault.bytes, (i + 1) * fault.bytes)
                )
              ),
              Stream.rechunk(1)
            ))
          break
        case "Fail":
          break
      }
    }
    return current
  })

const respond = (fault: Extract<Fault, { readonly _tag: "Respond" }>): HttpServerResponse.HttpServerResponse => {
  const options = { status: fault.status, ...(fault.headers === undefined ? {} : { headers: fault.headers }) }
  return fault.body === undefined
    ? HttpServerResponse.empty(options)
    : HttpServerResponse.unsafeJson(fault.body, options)
}

const withBytes = (
  response: HttpServerResponse.HttpServerResponse,
  stream: (bytes: Uint8Array) => Stream.Stream<Uint8Array>
): HttpServerResponse.HttpServerResponse => {
  const { body } = response
  return body._tag !== "Uint8Array" ? response : HttpServerResponse.stream(stream(body.body), {
    status: response.status,
    headers: response.headers,
    contentType: body.contentType,
    contentLength: body.body.length
  })
}
