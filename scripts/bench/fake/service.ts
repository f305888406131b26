/** A service in a process of its own that answers samples at once, from memory: what is measured over it is the client. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as SampleCodec from "../../../src/protocol/SampleCodec.js"

const result = SampleCodec.encodeResponse({
  sequences: [{ stopReason: "length", tokens: new Int32Array(64).fill(7), logprobs: new Float32Array(64).fill(-1) }],
  promptCacheHitTokens: 0
})

const server = `
const result = Buffer.from("${Buffer.from(result).toString("base64")}", "base64")
const json = { "content-type": "application/json" }
const answers = {
  "create_session": { session_id: "s" },
  "create_sampling_session": { sampling_session_id: "s:sample:0" },
  "asample": { request_id: "s:sample:0:1", sample_sequence_ids: ["q"] }
}
require("node:http").createServer({ keepAliveTimeout: 60000 }, (request, response) => {
  request.on("data", () => {})
  request.on("end", () => {
    const name = request.url.slice(request.url.lastIndexOf("/") + 1)
    if (name === "retrieve_future") {
      response.writeHead(200, { "content-type": "application/x-protobuf", "content-length": result.length }).end(result)
    } else {
      const body = JSON.stringify(answers[name] ?? {})
      response.writeHead(200, { ...json, "content-length": Buffer.byteLength(body) }).end(body)
    }
  })
}).listen(0, "127.0.0.1", function() { console.log(this.address().port) })
`

export const startServer = Effect.acquireRelease(
  Effect.async<{ readonly baseUrl: string; readonly stop: () => void }>((resume) => {
    const child = spawn(process.execPath, ["-e", server], { stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.once("data", (port) => {
      const baseUrl = `http://127.0.0.1:${String(port).trim()}`
      resume(Effect.succeed({ baseUrl, stop: () => child.kill() }))
    })
  }),
  ({ stop }) => Effect.sync(stop)
)
