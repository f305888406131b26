/**
 * The gateway on the server's own port, opened by the first request for it: who only trains does not pay for it.
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Gateway from "../../gateway/Gateway.js"
import { serves } from "../../gateway/paths.js"
import type * as NodeServer from "../../server/NodeServer.js"
import * as Server from "../../server/Server.js"
import type { TinkexError } from "../../TinkexError.js"

const unavailable = HttpServerResponse.unsafeJson(
  { error: { message: "the gateway could not be opened; the server's log says why", type: "server_error" } },
  { status: 503, headers: { "retry-after": "1" } }
)

export const mount = (
  apiKey: Redacted.Redacted | undefined
): Effect.Effect<NodeServer.Mounted, never, Server.Server | Scope.Scope> =>
  Effect.gen(function*() {
    const { client } = yield* Server.Server
    const context = yield* Effect.context<Scope.Scope>()
    const scope = yield* Effect.scope
    let opening: Fiber.RuntimeFiber<typeof Gateway.Gateway.Service, TinkexError> | undefined
    const open = Effect.promise(() => import("./ownGateway.js")).pipe(
      Effect.flatMap(({ make }) => make(client, apiKey)),
      // nothing of the request that happens to be the first
      Effect.mapInputContext((_: Context.Context<never>) => context),
      Effect.onError(() =>
        Effect.sync(() => {
          opening = undefined
        })
      ),
      Effect.forkIn(scope)
    )
    // in a fiber of its own: whoever asked first may go away meanwhile
    const gateway = Effect.suspend(() =>
      opening === undefined ? Effect.tap(open, (fiber) => void (opening = fiber)) : Effect.succeed(opening)
    ).pipe(Effect.uninterruptible, Effect.flatMap(Fiber.await), Effect.flatten)
    return {
      serves,
      app: Effect.matchCauseEffect(gateway, {
        onFailure: (cause) =>
          Cause.isInterruptedOnly(cause)
            ? Effect.interrupt
            : Effect.as(Effect.logError("the gateway could not be opened", cause), unavailable),
        onSuccess: ({ app }) => app
      })
    }
  })
