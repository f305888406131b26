/**
 * The error of bytes or JSON that are not what the protocol says.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import { TypeId } from "./InvalidInput.js"

/**
 * A message of the peer that could not be decoded. Names the message and the place in it, never the contents.
 *
 * @since 0.1.0
 * @category errors
 */
export class MalformedMessage extends Data.TaggedError("MalformedMessage")<{
  /** The message that was being read, for example `SampleResponse`. */
  readonly messageType: string
  /** Where and what is wrong. */
  readonly detail: string
  readonly cause?: unknown
}> {
  readonly [TypeId]: TypeId = TypeId
  override get message(): string {
    return `${this.messageType} could not be decoded: ${this.detail}`
  }
  override toJSON(): object {
    return { _tag: this._tag, messageType: this.messageType, detail: this.detail }
  }
}
