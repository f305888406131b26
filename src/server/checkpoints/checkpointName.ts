/**
 * What checkpoints may be called.
 *
 * @internal
 */
import * as TinkerPath from "../../protocol/TinkerPath.js"

const namePattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/

/**
 * Whether a checkpoint can be called so: letters, digits, `_`, `-` and `.`, at most 255, not beginning with `-` or `.`.
 *
 * @internal
 */
export const isName = (name: string): boolean => namePattern.test(name)

/**
 * Tells that a name is taken.
 *
 * @internal
 */
export const takenText = (path: TinkerPath.TinkerPath): string =>
  `Checkpoint '${path.name}' already exists as ${TinkerPath.format(path)}; save under another name, or with overwrite`
