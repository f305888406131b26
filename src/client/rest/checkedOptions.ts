/** The REST client's methods, refusing options of names that nobody reads. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { attempt, type InvalidInput } from "../../protocol/InvalidInput.js"
import type { Known } from "../../protocol/options.js"
import * as Names from "../options.js"
import type { Client } from "../RestClient.js"

const first = <O extends object, A, E, R>(
  names: Known<O>,
  call: (options?: O) => Effect.Effect<A, E, R>
): (options?: O) => Effect.Effect<A, E | InvalidInput, R> =>
(options) => Effect.zipRight(attempt(() => names(options)), Effect.suspend(() => call(options)))

const second = <O extends object, A, E, R>(
  names: Known<O>,
  call: (subject: string, options?: O) => Effect.Effect<A, E, R>
): (subject: string, options?: O) => Effect.Effect<A, E | InvalidInput, R> =>
(subject, options) => first(names, (known) => call(subject, known))(options)

const streamed = <O extends object, A, E, R>(
  names: Known<O>,
  call: (options?: O) => Stream.Stream<A, E, R>
): (options?: O) => Stream.Stream<A, E | InvalidInput, R> =>
(options) => Stream.unwrap(Effect.map(attempt(() => names(options)), () => call(options)))

type Methods = Pick<
  Client,
  | "copyWeights"
  | "getAuditLog"
  | "getCheckpointStorage"
  | "getSession"
  | "getTrainingRun"
  | "getTrainingRunByPath"
  | "listSessions"
  | "listTrainingRuns"
  | "listUserCheckpoints"
  | "searchSessions"
  | "trainingRunsPage"
  | "userCheckpointsPage"
>

export const checkedOptions = <C extends Methods>(client: C): C => ({
  ...client,
  copyWeights: second(Names.copyWeights, client.copyWeights),
  getAuditLog: first(Names.audit, client.getAuditLog),
  getCheckpointStorage: first(Names.storage, client.getCheckpointStorage),
  getSession: second(Names.scope, client.getSession),
  getTrainingRun: second(Names.scope, client.getTrainingRun),
  getTrainingRunByPath: second(Names.scope, client.getTrainingRunByPath),
  listSessions: streamed(Names.sessionList, client.listSessions),
  listTrainingRuns: streamed(Names.runList, client.listTrainingRuns),
  listUserCheckpoints: streamed(Names.list, client.listUserCheckpoints),
  searchSessions: streamed(Names.search, client.searchSessions),
  trainingRunsPage: first(Names.runPage, client.trainingRunsPage),
  userCheckpointsPage: first(Names.page, client.userCheckpointsPage)
})
