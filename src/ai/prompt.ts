/**
 * Prompts and tools of `@effect/ai` as conversations.
 */
import type * as LanguageModel from "@effect/ai/LanguageModel"
import type * as Prompt from "@effect/ai/Prompt"
import * as Tool from "@effect/ai/Tool"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import type * as Message from "../chat/Message.js"
import type { ToolSpec } from "../chat/Tool.js"
import { InvalidInput } from "../protocol/InvalidInput.js"

const imageOf = ({ data, mediaType }: Prompt.FilePart): Message.ImagePart => {
  const refuse = (actual: string) =>
    new InvalidInput({ field: "prompt", expected: "images of PNG or JPEG as bytes or base64", actual })
  if (!/^image\/(png|jpe?g)$/.test(mediaType)) throw refuse(`a file of type ${mediaType}`)
  if (data instanceof URL) throw refuse("an address: nothing is fetched")
  const bytes = typeof data === "string" ? Encoding.decodeBase64(data.replace(/^data:[^,]*,/, "")) : Either.right(data)
  if (Either.isLeft(bytes)) throw refuse("text that is not base64")
  return { type: "image", data: bytes.right, format: mediaType === "image/png" ? "png" : "jpeg" }
}

const contentOf = (parts: ReadonlyArray<Message.Part>): Message.Content => {
  const [only] = parts
  return parts.length === 0 ? "" : parts.length === 1 && only?.type === "text" ? only.text : parts
}

const resultOf = ({ id, name, result }: Prompt.ToolResultPart): Message.Message => ({
  role: "tool",
  content: typeof result === "string" ? result : JSON.stringify(result) ?? "",
  toolCallId: id,
  name
})

const assistant = (content: ReadonlyArray<Prompt.AssistantMessagePart>): ReadonlyArray<Message.Message> => {
  const parts: Array<Message.Part> = []
  const calls: Array<Message.ToolCall> = []
  const results: Array<Message.Message> = []
  for (const part of content) {
    switch (part.type) {
      case "text":
        parts.push({ type: "text", text: part.text })
        break
      case "reasoning":
        parts.push({ type: "thinking", thinking: part.text })
        break
      case "file":
        parts.push(imageOf(part))
        break
      case "tool-call":
        calls.push({ id: part.id, name: part.name, arguments: JSON.stringify(part.params ?? {}) })
        break
      case "tool-result":
        results.push(resultOf(part))
    }
  }
  return [
    { role: "assistant", content: contentOf(parts), ...(calls.length === 0 ? {} : { toolCalls: calls }) },
    ...results
  ]
}

/** The messages of a prompt. Throws `InvalidInput` for files that are no images. */
export const messagesOf = (prompt: Prompt.Prompt): ReadonlyArray<Message.Message> =>
  prompt.content.flatMap((message): ReadonlyArray<Message.Message> => {
    switch (message.role) {
      case "system":
        return [{ role: "system", content: message.content }]
      case "user":
        return [{
          role: "user",
          content: contentOf(
            message.content.map((part) => part.type === "text" ? { type: "text", text: part.text } : imageOf(part))
          )
        }]
      case "assistant":
        return assistant(message.content)
      case "tool":
        return message.content.map(resultOf)
    }
  })

/** What the model is told of tools, and whether it has to call one. */
export const toolsOf = (
  { toolChoice: choice, tools }: LanguageModel.ProviderOptions
): { readonly specs: ReadonlyArray<ToolSpec>; readonly must: boolean } => {
  const specs = tools.map((tool): ToolSpec => ({
    name: tool.name,
    description: Tool.getDescription(tool as never) ?? "", // any tool has a schema to read it from
    parameters: { ...Tool.getJsonSchema(tool as never) }
  }))
  if (choice === "none") return { specs: [], must: false }
  if (choice === "auto") return { specs, must: false }
  if (choice === "required") return { specs, must: specs.length > 0 }
  const names: ReadonlyArray<string> = "tool" in choice ? [choice.tool] : choice.oneOf
  const allowed = specs.filter(({ name }) => names.includes(name))
  return { specs: allowed, must: allowed.length > 0 && ("tool" in choice || choice.mode === "required") }
}
