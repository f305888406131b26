/** Sessions: made, kept alive, ended. */
import * as Effect from "effect/Effect"
import { type Check, inGroup, Lacking, that } from "../check.js"
import { field, text, wordsOf } from "../peer.js"

const check = inGroup("sessions")
const source = "sessions"

export const sessions: ReadonlyArray<Check> = [
  check("create", "every create_session is a session of its own", { source }, (peer) =>
    Effect.gen(function*() {
      const [one, two] = [yield* peer.newSession, yield* peer.newSession]
      yield* that(one !== two, "two ids", () => `${one} twice`)
    })),
  check("heartbeat", "a heartbeat of a session is heard", { source }, (peer) =>
    Effect.gen(function*() {
      const answer = yield* peer.post("/session_heartbeat", {
        session_id: yield* peer.session,
        type: "session_heartbeat"
      })
      yield* that(answer.status >= 200 && answer.status < 300, "2xx", () => wordsOf(answer))
    })),
  check("heartbeat-unknown", "a heartbeat of no session is refused", { source }, (peer) =>
    Effect.gen(function*() {
      const answer = yield* peer.post("/session_heartbeat", {
        session_id: "no-such-session",
        type: "session_heartbeat"
      })
      yield* that(answer.status >= 400 && answer.status < 500, "404", () => wordsOf(answer))
    })),
  check("model-without-session", "a model of no session is refused", { source }, (peer) =>
    Effect.gen(function*() {
      const answer = yield* peer.post("/create_model", {
        session_id: "no-such-session",
        model_seq_id: 0,
        base_model: peer.baseModel,
        lora_config: { rank: 8 },
        type: "create_model"
      })
      yield* that(answer.status >= 400 && answer.status < 500, "403 or 404", () => wordsOf(answer))
    })),
  check(
    "list",
    "sessions are listed with what is theirs",
    { source, feature: "session-list" },
    (peer) =>
      Effect.gen(function*() {
        const id = yield* peer.session
        const list = yield* peer.get("/sessions?limit=100&offset=0")
        if (list.status >= 400) return yield* new Lacking({ feature: "session-list", detail: wordsOf(list) })
        yield* that(Array.isArray(field(list.json, "sessions")), "a list", () => wordsOf(list))
        const one = yield* peer.get(`/sessions/${id}`)
        yield* that(
          Array.isArray(field(one.json, "training_run_ids")) && Array.isArray(field(one.json, "sampler_ids")),
          "training_run_ids and sampler_ids",
          () => wordsOf(one)
        )
      })
  ),
  check(
    "metadata",
    "metadata of a model comes back as text",
    { source, feature: "user-metadata" },
    (peer) =>
      Effect.gen(function*() {
        const created = yield* peer.post("/create_model", {
          session_id: yield* peer.session,
          model_seq_id: peer.next(),
          base_model: peer.baseModel,
          lora_config: { rank: 4 },
          user_metadata: { renderer_name: "role_colon" },
          type: "create_model"
        })
        const outcome = yield* peer.outcome(text(created.json, "request_id"))
        const id = outcome._tag === "Done" ? text(outcome.answer.json, "model_id") : ""
        const run = yield* peer.get(`/training_runs/${id}`)
        if (text(run.json, "user_metadata", "renderer_name") !== "role_colon") {
          return yield* new Lacking({ feature: "user-metadata", detail: wordsOf(run) })
        }
      })
  )
]
