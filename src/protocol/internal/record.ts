/**
 * Records whose keys come from the wire.
 *
 * @internal
 */

/** Sets an own property, whatever its name is. */
export const put = <A>(record: Record<string, A>, key: string, value: A): void => {
  if (key === "__proto__") {
    Object.defineProperty(record, key, { value, enumerable: true, configurable: true, writable: true })
  } else {
    record[key] = value
  }
}
