/** Submissions: requests that are answered with the id of a future. */
import type * as Effect from "effect/Effect"
import * as Futures from "../../protocol/Futures.js"
import type { TransportError } from "../../TinkexError.js"
import type { Request } from "../HttpTransport.js"
import type { Core } from "../service/core.js"

export const submit = (
  core: Core,
  request: Omit<Request, "method">
): Effect.Effect<Futures.UntypedFuture, TransportError> =>
  core.transport.json({ ...request, method: "POST" }, Futures.UntypedFuture)
