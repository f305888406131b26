/**
 * Qwen3-VL: Qwen3 with images, whose reasoning is not framed.
 *
 * @internal
 */
import type { Format } from "../format.js"
import { qwenFormat, visionMarks } from "./qwenFamily.js"
import { qwenTools } from "./qwenTools.js"
import { toolCallBlock, writeCalls } from "./toolCallTags.js"

/** @internal */
export const qwen3Vl = (name: string): Format =>
  qwenFormat(
    {
      name,
      trim: "none",
      thinking: (text) => `<think>${text}</think>`,
      strips: (turn, { isLast }) => turn.role === "assistant" && !isLast,
      opening: () => "",
      prefill: "",
      calls: (turn, index) => `\n${writeCalls(turn.toolCalls ?? [], index)}`,
      groups: false,
      toolEnd: "",
      toolNext: "",
      image: visionMarks
    },
    {
      extension: false,
      markup: {
        thinking: { open: "<think>", close: "</think>", trim: "none", after: 0 },
        calls: [toolCallBlock]
      },
      tools: (tools, system) => [qwenTools(tools, system)]
    }
  )
