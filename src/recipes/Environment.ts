/**
 * What a model acts in: it observes tokens, says some, is rewarded, and observes again, until the episode is over.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import * as Message from "../chat/Message.js"
import type { Renderer } from "../chat/Renderer.js"
import * as Tool from "../chat/Tool.js"
import { attempt, type InvalidInput } from "../protocol/InvalidInput.js"
import * as ModelInput from "../protocol/ModelInput.js"
import type { Stop } from "../protocol/Sampling.js"

/**
 * What the model is shown, and what ends its action.
 *
 * @since 0.2.0
 * @category models
 */
export interface Observation {
  readonly tokens: ReadonlyArray<number> | Int32Array
  readonly stop?: Stop | undefined
}

/**
 * What the model said. `stopReason` is `length` where it was cut off.
 *
 * @since 0.2.0
 * @category models
 */
export interface Action {
  readonly tokens: Int32Array
  readonly logprobs: Float32Array
  readonly stopReason: "stop" | "length"
}

/**
 * What came of an action: a reward, and what is observed next; nothing when the episode is over.
 *
 * @since 0.2.0
 * @category models
 */
export interface StepResult {
  readonly reward: number
  readonly next: Observation | undefined
  readonly metrics?: Readonly<Record<string, number>> | undefined
  /** Whether the action shall not be learnt from, as one whose form was wrong. */
  readonly masked?: boolean | undefined
  /** How often the action called a tool. */
  readonly toolCalls?: number | undefined
}

/**
 * One episode. Used once: a further try is a further environment.
 *
 * @since 0.2.0
 * @category models
 */
export interface Environment<out E = never, out R = never> {
  readonly observe: Effect.Effect<Observation, E, R>
  readonly step: (action: Action) => Effect.Effect<StepResult, E, R>
}

/**
 * Environments of one task. What their episodes earn is compared: advantages are within a group.
 *
 * @since 0.2.0
 * @category models
 */
export interface Group<out E = never, out R = never> {
  /** How many episodes there are. */
  readonly size: number
  /** A fresh environment for an episode; asked again for each further try. */
  readonly make: (index: number) => Effect.Effect<Environment<E, R>, E, R>
  /** Rewards of whole episodes, beside those of their steps, as a tournament gives. */
  readonly reward?:
    | ((trajectories: ReadonlyArray<Trajectory>) => Effect.Effect<ReadonlyArray<number>, E, R>)
    | undefined
  /** Names under which the group's figures are told apart. */
  readonly tags?: ReadonlyArray<string> | undefined
}

/**
 * An observation and the action on it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Transition {
  readonly observation: ReadonlyArray<number>
  readonly tokens: ReadonlyArray<number>
  readonly logprobs: ReadonlyArray<number>
  readonly reward: number
  readonly masked: boolean
  readonly metrics: Readonly<Record<string, number>>
}

/**
 * An episode as it went.
 *
 * @since 0.2.0
 * @category models
 */
export interface Trajectory {
  readonly transitions: ReadonlyArray<Transition>
  /** Why it ended: `done`, or the limit that was met. */
  readonly stopped: string
}

/**
 * The sum of the rewards of an episode's steps.
 *
 * @since 0.2.0
 * @category getters
 */
export const totalReward = ({ transitions }: Trajectory): number =>
  transitions.reduce((sum, { reward }) => sum + reward, 0)

/** A prompt as an observation that ends at the renderer's stops. */
const observe = (
  renderer: Renderer,
  messages: ReadonlyArray<Message.Message>,
  tools: ReadonlyArray<Tool.ToolSpec>
): Effect.Effect<Observation, InvalidInput> =>
  attempt(() => ({ tokens: ModelInput.tokens(renderer.prompt(messages, { tools })), stop: renderer.stop }))

/**
 * A question with an answer that is graded: one action, and the episode is over. An answer that does not end as the model's
 * format has it loses a tenth.
 *
 * @since 0.2.0
 * @category constructors
 */
export const problem = <E = never, R = never>(options: {
  readonly renderer: Renderer
  readonly messages: ReadonlyArray<Message.Message>
  /** What an answer is worth, from 0 to 1 by custom. */
  readonly grade: (answer: Message.Message) => number | Effect.Effect<number, E, R>
  /** What a malformed answer loses. 0.1 unless given. */
  readonly formatPenalty?: number | undefined
}): Environment<E | InvalidInput, R> => ({
  observe: observe(options.renderer, options.messages, []),
  step: ({ stopReason, tokens }) =>
    Effect.gen(function*() {
      const { ending, message } = options.renderer.parse(tokens, options.messages)
      const given = options.grade(message)
      const correct = typeof given === "number" ? given : yield* given
      const wellFormed = ending !== "malformed" && stopReason === "stop"
      return {
        reward: correct - (wellFormed ? 0 : options.formatPenalty ?? 0.1),
        next: undefined,
        metrics: { correct, format: wellFormed ? 1 : 0 }
      }
    })
})

/**
 * What follows a message of the model in an episode of messages.
 *
 * @since 0.2.0
 * @category models
 */
export interface MessageStep {
  readonly reward: number
  /** What is said to the model next; none ends the episode. */
  readonly next: ReadonlyArray<Message.Message>
  readonly metrics?: Readonly<Record<string, number>> | undefined
}

/**
 * What is done about answers whose form is wrong.
 *
 * - `retries`: how many in a row are told what was wrong and may be tried again. 0 unless given: the first ends the episode.
 * - `penalty`: what each loses. 0 unless given.
 * - `terminalReward`: the reward of the one that ends the episode. -1 unless given.
 * - `mask`: whether such answers are not learnt from. `false` unless given.
 *
 * @since 0.2.0
 * @category models
 */
export interface ParseErrorPolicy {
  readonly retries?: number | undefined
  readonly penalty?: number | undefined
  readonly terminalReward?: number | undefined
  readonly mask?: boolean | undefined
}

/**
 * A conversation as an environment: the model's answers are parsed, its tool calls are made and answered, and `respond` says what
 * comes next. An answer with tool calls does not reach `respond`; the answers of the tools are the next observation.
 *
 * @since 0.2.0
 * @category constructors
 */
export const conversation = <E = never, R = never>(options: {
  readonly renderer: Renderer
  readonly messages: ReadonlyArray<Message.Message>
  readonly tools?: ReadonlyArray<Tool.Tool<unknown, R>> | undefined
  /** What follows an answer; told of all that was said. */
  readonly respond: (
    answer: Message.Message,
    history: ReadonlyArray<Message.Message>
  ) => Effect.Effect<MessageStep, E, R>
  readonly parseErrors?: ParseErrorPolicy | undefined
}): Effect.Effect<Environment<E | InvalidInput, R>> =>
  Effect.gen(function*() {
    const { renderer, tools = [] } = options
    const policy = options.parseErrors ?? {}
    const specs = tools.map(({ spec }) => spec)
    const history = yield* Ref.make(options.messages)
    const failures = yield* Ref.make(0)

    const goOn = (reward: number, said: ReadonlyArray<Message.Message>, more: Partial<StepResult> = {}) =>
      Effect.gen(function*() {
        const all = yield* Ref.updateAndGet(history, (before) => [...before, ...said])
        return { reward, next: yield* observe(renderer, all, specs), ...more }
      })

    const malformed = (message: Message.Message, reason: string) =>
      Effect.gen(function*() {
        const count = yield* Ref.updateAndGet(failures, (n) => n + 1)
        const masked = policy.mask ?? false
        const metrics = { parse_error: 1 }
        if (count > (policy.retries ?? 0)) {
          return { reward: policy.terminalReward ?? -1, next: undefined, masked, metrics }
        }
        const told = Message.user(`The previous message had a formatting issue.\nError: ${reason}`)
        return yield* goOn(-(policy.penalty ?? 0), [message, told], { masked, metrics })
      })

    return {
      observe: Effect.flatMap(Ref.get(history), (messages) => observe(renderer, messages, specs)),
      step: ({ stopReason, tokens }) =>
        Effect.gen(function*() {
          const before = yield* Ref.get(history)
          const { ending, message, reason } = renderer.parse(tokens, before)
          const unparsed = message.unparsedToolCalls?.[0]
          if (ending === "malformed" || stopReason === "length") {
            return yield* malformed(message, reason ?? "it was cut off at the limit of tokens")
          }
          if (unparsed !== undefined && (message.toolCalls?.length ?? 0) === 0) {
            return yield* malformed(message, unparsed.error)
          }
          yield* Ref.set(failures, 0)
          if ((message.toolCalls?.length ?? 0) > 0) {
            const answers = yield* Tool.runAll(tools, message)
            return yield* goOn(0, [message, ...answers], { toolCalls: message.toolCalls?.length })
          }
          const { metrics, next, reward } = yield* options.respond(message, before)
          return next.length === 0
            ? { reward, next: undefined, metrics }
            : yield* goOn(reward, [message, ...next], { metrics })
        })
    }
  })

/**
 * A group of as many environments of one task.
 *
 * @since 0.2.0
 * @category constructors
 */
export const group = <E, R>(
  size: number,
  make: (index: number) => Environment<E, R> | Effect.Effect<Environment<E, R>, E, R>,
  options: Pick<Group<E, R>, "reward" | "tags"> = {}
): Group<E, R> => ({
  size,
  make: (index) => {
    const made = make(index)
    return Effect.isEffect(made) ? made : Effect.succeed(made)
  },
  ...options
})
