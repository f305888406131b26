/**
 * Which parts of a conversation are learnt.
 *
 * @since 0.2.0
 */
import * as Schema from "effect/Schema"

/**
 * - `last_assistant_message`: the last message, if it is the assistant's.
 * - `last_assistant_turn`: every assistant message after the last user message, calls of tools included.
 * - `all_assistant_messages`
 * - `all_messages`: of every role, but not the headers that introduce them.
 * - `all_tokens`
 * - `all_user_and_system_messages`
 * - `customized`: messages whose `trainable` is true; every message must say.
 *
 * The names are those of the official cookbook (`TrainOnWhat`).
 *
 * @since 0.2.0
 * @category schemas
 */
export const TrainOn = Schema.Literal(
  "last_assistant_message",
  "last_assistant_turn",
  "all_assistant_messages",
  "all_messages",
  "all_tokens",
  "all_user_and_system_messages",
  "customized"
)

/**
 * @since 0.2.0
 * @category models
 */
export type TrainOn = typeof TrainOn.Type
