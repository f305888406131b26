/** How many keys are kept apart where keys come from outside. */
export const mostKept = 10_000

/** Sets a key of a map that keeps `mostKept` of them: the oldest is forgotten first. */
export const remember = <K, V>(map: Map<K, V>, key: K, value: V): void => {
  map.delete(key)
  map.set(key, value)
  if (map.size > mostKept) { for (const oldest of map.keys()) return void map.delete(oldest) }
}
