/** What the requests of the REST client have in common: reading one thing, and listing many. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TinkexError, TransportError } from "../../TinkexError.js"
import type { Request, Transport } from "../transport/types.js"
import * as Paging from "./paging.js"
import { checkCount, checkScope } from "./restChecks.js"

export const maxPage = 1000

export interface Get {
  <A, I>(
    request: Omit<Request, "method" | "pool">,
    schema: Schema.Schema<A, I>
  ): Effect.Effect<A, TransportError>
}

export const getOver = (transport: Transport): Get => (request, schema) =>
  transport.json({ method: "GET", pool: "service", ...request }, schema)

export const checkPage = (options: { readonly limit?: number | undefined; readonly offset?: number | undefined }) =>
  Effect.zipRight(
    checkCount("limit", options.limit, 0, Number.POSITIVE_INFINITY),
    checkCount("offset", options.offset, 0, Number.MAX_SAFE_INTEGER)
  )

export const paged = <A>(
  options: {
    readonly limit?: number | undefined
    readonly offset?: number | undefined
    readonly pageSize?: number | undefined
    readonly accessScope?: string | undefined
  },
  pageSize: number,
  id: (item: A) => string,
  fetch: (offset: number, limit: number) => Effect.Effect<Paging.Page<A>, TinkexError>
): Stream.Stream<A, TinkexError> =>
  Stream.unwrap(Effect.gen(function*() {
    yield* checkPage(options)
    yield* checkCount("pageSize", options.pageSize, 1, maxPage)
    yield* checkScope(options.accessScope)
    return Paging.byOffset(
      {
        offset: options.offset ?? 0,
        limit: options.limit ?? Number.POSITIVE_INFINITY,
        pageSize: options.pageSize ?? pageSize
      },
      id,
      fetch
    )
  }))
