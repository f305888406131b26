/** Submissions: requests that are answered with the id of a future. */
import type * as Effect from "effect/Effect"
import * as Futures from "../../protocol/Futures.js"
import type { TransportError } from "../../TinkexError.js"
import type { InternalTransport, Left, Request } from "./types.js"

export const submit = (
  transport: InternalTransport,
  request: Omit<Request, "method">,
  left?: Left<Futures.UntypedFuture>
): Effect.Effect<Futures.UntypedFuture, TransportError> =>
  transport.json({ ...request, method: "POST" }, Futures.UntypedFuture, left)
