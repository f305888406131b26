/** Parts of a report that stand in files of their own: samples, the first datum, how the service answered. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"

/** Text or ids, piece by piece, with the log-probability of each. */
export interface SampleShown {
  readonly index: number
  readonly pieces: ReadonlyArray<string>
  readonly logprobs: ReadonlyArray<number>
  readonly reward?: number | undefined
}

/** The first example as it was trained on: what the model reads, and the weight of each token as a target. */
export interface DatumShown {
  readonly pieces: ReadonlyArray<string>
  readonly weights: ReadonlyArray<number>
}

type Decode = ((tokens: ReadonlyArray<number>) => string) | undefined

export const datumFile = "first_datum.json"
export const healthFile = "api_health.json"

const rounds = 12
const samplesOfRound = 4
const tokensShown = 400

const numbers = (value: unknown): ReadonlyArray<number> | undefined =>
  Array.isArray(value) && value.every((one) => typeof one === "number") ? value : undefined

/** Token by token; ids where there is no tokenizer. */
const piecesOf = (tokens: ReadonlyArray<number>, decode: Decode): ReadonlyArray<string> => {
  if (decode === undefined) return tokens.map((token) => `${token} `)
  let text = ""
  return tokens.map((_, i) => {
    // pieces are what each token adds: characters of several bytes are whole only with their last one
    const longer = decode(tokens.slice(0, i + 1))
    const piece = longer.endsWith("\ufffd") ? "" : longer.slice(text.length)
    if (!longer.endsWith("\ufffd")) text = longer
    return piece
  })
}

/** Whatever a round is kept as: lists of tokens with as many log-probabilities, wherever they stand. */
const findSamples = (value: unknown, found: Array<Readonly<Record<string, unknown>>>): void => {
  if (typeof value !== "object" || value === null || found.length >= samplesOfRound) return
  if (Array.isArray(value)) {
    for (const one of value) findSamples(one, found)
    return
  }
  const record = value as Readonly<Record<string, unknown>>
  const tokens = numbers(record["tokens"])
  const logprobs = numbers(record["logprobs"])
  if (tokens !== undefined && logprobs !== undefined && tokens.length === logprobs.length && tokens.length > 0) {
    found.push(record)
    return
  }
  for (const one of Object.values(record)) findSamples(one, found)
}

const json = (file: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    fs.readFileString(file).pipe(
      Effect.flatMap((text) => Effect.try(() => JSON.parse(text) as unknown)),
      Effect.orElseSucceed((): unknown => undefined)
    ))

/** Of the newest round and of some before it, all over the run. */
export const readSamples = (directory: string, decode: Decode) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const names = yield* Effect.orElseSucceed(fs.readDirectory(directory), (): Array<string> => [])
    const all = names.filter((name) => /^iteration_\d+$/.test(name)).sort()
    const stride = Math.max(1, Math.ceil(all.length / rounds))
    const chosen = all.filter((_, i) => (all.length - 1 - i) % stride === 0)
    const shown: Array<SampleShown> = []
    for (const name of chosen) {
      const found: Array<Readonly<Record<string, unknown>>> = []
      findSamples(yield* json(path.join(directory, name, "rollouts.json")), found)
      for (const { logprobs, reward, tokens } of found) {
        shown.push({
          index: Number(name.slice("iteration_".length)),
          pieces: piecesOf((numbers(tokens) ?? []).slice(0, tokensShown), decode),
          logprobs: (numbers(logprobs) ?? []).slice(0, tokensShown),
          ...(typeof reward === "number" ? { reward } : {})
        })
      }
    }
    return shown
  })

export const readDatum = (directory: string, decode: Decode) =>
  Effect.gen(function*() {
    const path = yield* Path.Path
    const value = yield* json(path.join(directory, datumFile))
    if (typeof value !== "object" || value === null) return undefined
    const { targets, weights } = value as { readonly targets?: unknown; readonly weights?: unknown }
    const tokens = numbers(targets)
    const counted = numbers(weights)
    if (tokens === undefined || counted === undefined || tokens.length !== counted.length) return undefined
    return { pieces: piecesOf(tokens.slice(0, tokensShown), decode), weights: counted.slice(0, tokensShown) }
  })

export const readHealth = (directory: string) =>
  Effect.gen(function*() {
    const path = yield* Path.Path
    const value = yield* json(path.join(directory, healthFile))
    if (typeof value !== "object" || value === null) return []
    return Object.entries(value).flatMap(([key, one]): ReadonlyArray<readonly [string, string]> =>
      typeof one === "number" || typeof one === "string" ? [[key, String(one)]] : []
    )
  })
