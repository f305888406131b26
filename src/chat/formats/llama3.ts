/**
 * Llama 3 Instruct, without the "Cutting Knowledge Date" of its template. It has no tools: their calls would be bare JSON,
 * which nothing tells from an answer that is JSON.
 *
 * @internal
 */
import { said } from "../chunk.js"
import { type Format, onlyText } from "../format.js"

const name = "llama3"

/** @internal */
export const llama3: Format = {
  name,
  bos: ["<|begin_of_text|>"],
  stop: ["<|eot_id|>"],
  eos: ["<|end_of_text|>"],
  controls: ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
  extension: true,
  markup: {},
  render: (turn, { index }) => ({
    header: ["<|start_header_id|>", said(turn.role), "<|end_header_id|>\n\n"],
    output: [[said(onlyText(turn, name, index)), "<|eot_id|>"]]
  })
}
