/** Lists that come in pages, as streams. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** One page, and how many items there are in all where the service says so. */
export interface Page<A> {
  readonly items: ReadonlyArray<A>
  readonly total?: number | undefined
}

/**
 * Every item, page by page, as the reader asks for them. What is added at the front of a list while it is read moves items
 * on to the next page: those that were seen are left out. What is deleted while it is read moves items back to pages that were
 * read: as far as the list has shrunk, they are read again.
 */
export const byOffset = <A, E>(
  options: { readonly offset: number; readonly pageSize: number; readonly limit: number },
  id: (item: A) => string,
  fetch: (offset: number, limit: number) => Effect.Effect<Page<A>, E>
): Stream.Stream<A, E> =>
  Stream.suspend(() => {
    const seen = new Set<string>()
    let longest = 0
    return Stream.paginateChunkEffect(options.offset, (offset) => {
      const want = Math.min(options.pageSize, options.limit - seen.size)
      if (want <= 0) return Effect.succeed([Chunk.empty<A>(), Option.none<number>()] as const)
      return Effect.map(fetch(offset, want), ({ items, total }) => {
        const fresh: Array<A> = []
        for (const item of items) {
          const key = id(item)
          if (seen.has(key)) continue
          seen.add(key)
          fresh.push(item)
        }
        const next = offset + items.length
        if (total !== undefined) {
          const gone = Math.max(0, longest - total)
          longest = total
          // nothing that was on this page has moved before it was read: only what lies before it may have
          if (gone > 0 && offset > options.offset) {
            const back = Math.max(options.offset, offset - gone)
            return [Chunk.unsafeFromArray(fresh), total > 0 ? Option.some(back) : Option.none<number>()] as const
          }
        }
        const last = items.length === 0 || (total === undefined ? items.length < want : next >= total)
        return [Chunk.unsafeFromArray(fresh), last ? Option.none<number>() : Option.some(next)] as const
      })
    })
  })

/** Every item of a list whose pages name their successors. */
export const byCursor = <A, C, E>(
  fetch: (cursor: C | undefined) => Effect.Effect<{ readonly items: ReadonlyArray<A>; readonly next: C | undefined }, E>
): Stream.Stream<A, E> =>
  Stream.paginateChunkEffect<C | undefined, A, E, never>(
    undefined,
    (cursor) =>
      Effect.map(fetch(cursor), ({ items, next }) => [
        Chunk.unsafeFromArray([...items]),
        next === undefined || items.length === 0 ? Option.none() : Option.some(next)
      ])
  )
