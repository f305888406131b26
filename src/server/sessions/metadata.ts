/**
 * @internal
 */

/**
 * Metadata as answers must carry it: strings only (wire-protocol 3.10). Other values become their JSON.
 *
 * @internal
 */
export const stringValues = (record: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> => {
  const out: Record<string, string> = {}
  for (const [key, value] of Object.entries(record)) {
    out[key] = typeof value === "string" ? value : JSON.stringify(value, plain) ?? "null"
  }
  return out
}

/** Integers beyond 2^53 arrive as bigints, which JSON.stringify refuses. */
const plain = (_key: string, value: unknown): unknown => typeof value === "bigint" ? String(value) : value
