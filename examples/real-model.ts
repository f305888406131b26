/**
 * A real model learns a job: SmolLM2-135M-Instruct sorts the messages of customers, in the form that a program can read.
 * It takes a few minutes on two cores (docs/real-models.md has figures), no key, no GPU, no Python.
 *
 *     npx tsx examples/real-model.ts ./SmolLM2-135M-Instruct.Q4_1.gguf
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { Datum, Future, Message, Renderer, type SamplingClient, ServiceClient } from "tinkex"
import * as LocalTinkex from "tinkex/LocalTinkex"

const lessons: Record<string, ReadonlyArray<string>> = {
  billing: [
    "I was charged twice this month.",
    "Where can I find my last invoice?",
    "My card was declined although it is valid.",
    "Please send me a receipt for March.",
    "The discount code did not change the price.",
    "Why did my subscription get more expensive?",
    "I want my money back for the second order.",
    "Can I pay by bank transfer?"
  ],
  shipping: [
    "My parcel has not arrived yet.",
    "The box was crushed and the vase is broken.",
    "Can you deliver to a neighbour instead?",
    "The tracking number does not work.",
    "I got somebody else's package.",
    "How long does delivery to Norway take?",
    "The courier says my street does not exist.",
    "Please send it to my office address."
  ],
  account: [
    "I cannot log in any more.",
    "How do I change my email address?",
    "Please delete my profile and my data.",
    "I forgot my password.",
    "The code you text me never comes.",
    "Somebody else is using my login.",
    "My name is spelled wrong in my profile.",
    "How can I add a second user?"
  ],
  technical: [
    "The app crashes when I open it.",
    "The page stays white after the update.",
    "Search shows no results at all.",
    "The export file is empty.",
    "Videos play without sound.",
    "The button does nothing when I press it.",
    "It is so slow that it times out.",
    "I get error 500 when I upload a picture."
  ]
}

const heldOut: ReadonlyArray<readonly [message: string, team: string]> = [
  ["You took the payment two times.", "billing"],
  ["The invoice has the wrong amount.", "billing"],
  ["The package is three days late.", "shipping"],
  ["My order was delivered to the wrong house.", "shipping"],
  ["My password does not work.", "account"],
  ["Please change the phone number of my account.", "account"],
  ["The app freezes on the start screen.", "technical"],
  ["I see an error message when I save.", "technical"]
]

const ask = (message: string) => [
  Message.system("Sort the customer's message."),
  Message.user(message)
]
const answer = (team: string) => Message.assistant(`{"team": "${team}"}`)

const program = Effect.gen(function*() {
  const service = yield* ServiceClient.ServiceClient
  const training = yield* service.createLoraTrainingClient({ baseModel: "model", rank: 8, seed: 1 })
  const tokenizer = yield* training.tokenizer
  const renderer = yield* Renderer.fromTemplate(tokenizer)
  const datum = (message: string, team: string) =>
    Datum.fromSegments(renderer.example([...ask(message), answer(team)], { train: "last_assistant_message" }))

  const show = (title: string, sampler: SamplingClient.Client) =>
    Effect.gen(function*() {
      yield* Effect.log(title)
      const answers = yield* Effect.forEach(heldOut, ([message]) =>
        sampler.sample({
          prompt: renderer.prompt(ask(message)),
          maxTokens: 16,
          temperature: 0,
          stop: renderer.stop
        }), { concurrency: "unbounded" })
      let right = 0
      for (const [i, { sequences }] of answers.entries()) {
        const [message, team] = heldOut[i]!
        const text = Message.text(renderer.parse(sequences[0]!.tokens).message)
        if (text === Message.text(answer(team))) right++
        yield* Effect.log(`  ${message} -> ${JSON.stringify(text)}`)
      }
      yield* Effect.log(`  ${right} of ${heldOut.length} are right`)
    })
  const check = heldOut.map(([message, team]) => datum(message, team))
  const held = Effect.map(
    Effect.flatMap(training.forward(check, "cross_entropy"), Future.await),
    ({ metrics }) => metrics["loss:sum"]! / heldOut.length
  )

  yield* show("before:", yield* service.createSamplingClient({ baseModel: "model" }))
  const before = yield* held

  const data = Object.entries(lessons).flatMap(([team, messages]) => messages.map((message) => datum(message, team)))
  const size = 8
  for (let step = 0; step < 12; step++) {
    // Every eighth and its neighbours, so that each batch has all teams.
    const batch = Array.from({ length: size }, (_, i) => data[(i * 4 + step) % data.length]!)
    const gradients = yield* training.forwardBackward(batch, "cross_entropy")
    const update = yield* training.optimStep({ learningRate: 2e-3 })
    const [{ metrics }] = yield* Effect.all([Future.await(gradients), Future.await(update)])
    yield* Effect.log(`step ${step + 1}: loss ${(metrics["loss:sum"]! / size).toFixed(3)} an answer`)
  }
  yield* Effect.log(`held-out loss: ${before.toFixed(3)} -> ${(yield* held).toFixed(3)} an answer`)
  yield* show("after:", yield* training.saveWeightsAndGetSamplingClient)
}).pipe(Effect.scoped)

const path = process.argv[2]
if (path === undefined) {
  console.log("give the path of a model: npx tsx examples/real-model.ts ./SmolLM2-135M-Instruct.Q4_1.gguf")
} else {
  program.pipe(
    Effect.provide(LocalTinkex.layer({ models: [{ name: "model", path }] })),
    NodeRuntime.runMain
  )
}
