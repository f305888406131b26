/**
 * Addresses of checkpoints, `tinker://<run>/<kind>/<name>`, and their form in URLs.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { CheckpointType } from "./Checkpoint.js"
import { attempt, InvalidInput } from "./InvalidInput.js"

/**
 * What a checkpoint holds, as it is written in a path.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = "weights" | "sampler_weights" | "external_weights"

/**
 * A checkpoint's address in its parts. `trainingRunId` is the model id.
 *
 * @since 0.1.0
 * @category models
 */
export interface TinkerPath {
  readonly trainingRunId: string
  readonly kind: Kind
  readonly name: string
}

const scheme = "tinker://"

const typeOfKind: Readonly<Record<Kind, CheckpointType>> = {
  weights: "training",
  sampler_weights: "sampler",
  external_weights: "external"
}

const isKind = (text: string): text is Kind => Object.hasOwn(typeOfKind, text)

/**
 * Reads a path of exactly three non-empty parts with a known kind; throws `InvalidInput` otherwise.
 *
 * @since 0.1.0
 * @category parsing
 */
export const unsafeParse = (text: string, field = "path"): TinkerPath => {
  const refuse = (actual: string): never => {
    throw new InvalidInput({
      field,
      expected: "tinker://<training run>/<weights | sampler_weights | external_weights>/<name>",
      actual
    })
  }
  if (!text.startsWith(scheme)) return refuse("text that does not start with tinker://")
  const parts = text.slice(scheme.length).split("/")
  if (parts.length !== 3) return refuse(`${parts.length} parts`)
  const [trainingRunId, kind, name] = parts as [string, string, string] // three, as the line above has checked
  if (!isKind(kind)) return refuse("another kind")
  if (trainingRunId === "" || name === "") return refuse("an empty part")
  return { trainingRunId, kind, name }
}

/**
 * Reads a path of exactly three non-empty parts with a known kind.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string, field?: string): Effect.Effect<TinkerPath, InvalidInput> =>
  attempt(() => unsafeParse(text, field))

/**
 * The path as text; `parse` reads it back.
 *
 * @since 0.1.0
 * @category formatting
 */
export const format = (path: TinkerPath): string => `${scheme}${path.trainingRunId}/${checkpointId(path)}`

/**
 * `<kind>/<name>`, the id under which a run lists the checkpoint. Contains a slash.
 *
 * @since 0.1.0
 * @category formatting
 */
export const checkpointId = (path: TinkerPath): string => `${path.kind}/${path.name}`

/**
 * The path of a checkpoint id of a run; throws `InvalidInput` when the id has no known kind in front.
 *
 * @since 0.1.0
 * @category parsing
 */
export const unsafeFromCheckpointId = (trainingRunId: string, id: string): TinkerPath =>
  unsafeParse(`${scheme}${trainingRunId}/${id}`, "checkpoint_id")

/**
 * What the checkpoint can be used for.
 *
 * @since 0.1.0
 * @category getters
 */
export const checkpointType = (path: TinkerPath): CheckpointType => typeOfKind[path.kind]

/**
 * An id for use in a URL path: `:` and `/` stay as they are, as the official SDK sends them (docs/protocol/transport.md#urls); what would
 * change the URL's meaning is percent-encoded.
 *
 * @since 0.1.0
 * @category formatting
 */
export const encodeId = (id: string): string => encodeURIComponent(id).replaceAll("%3A", ":").replaceAll("%2F", "/")

/**
 * An id from a URL path, with `:` and `/` literal or percent-encoded; undefined when the escapes are broken.
 *
 * @since 0.1.0
 * @category parsing
 */
export const decodeId = (segment: string): string | undefined => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}

/**
 * Splits the tail of `/training_runs/<tail>` into the run, the checkpoint id and the action behind it, whether the id's
 * slash is literal or percent-encoded: `run/checkpoints/weights/a/publish` or `run/checkpoints/weights%2Fa/publish`.
 * Undefined when the tail has another form.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseCheckpointUrl = (
  tail: string
): { readonly path: TinkerPath; readonly action: string | undefined } | undefined => {
  const decoded = decodeId(tail)
  const parts = decoded?.split("/")
  if (parts === undefined || parts[1] !== "checkpoints" || parts.length < 4 || parts.length > 5) return undefined
  const [trainingRunId, , kind, name, action] = parts as [string, string, string, string, string | undefined] // 4 or 5 parts
  return trainingRunId === "" || name === "" || !isKind(kind)
    ? undefined
    : { path: { trainingRunId, kind, name }, action }
}
