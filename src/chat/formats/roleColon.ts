/**
 * `User: …`, `Assistant: …`: for base models, which know no control tokens. The stop is a text.
 *
 * @internal
 */
import { said } from "../chunk.js"
import { type Format, onlyText } from "../format.js"

const name = "role_colon"

const capitalized = (role: string): string => role.slice(0, 1).toUpperCase() + role.slice(1).toLowerCase()

/** @internal */
export const roleColon = (bos: string | undefined): Format => ({
  name,
  ...(bos === undefined ? {} : { bos: [bos] }),
  stop: { text: "\n\nUser:" },
  controls: [],
  extension: true,
  markup: { prefix: " ", suffix: "\n\n" },
  render: (turn, { index }) => ({
    header: [said(`${capitalized(turn.role)}:`)],
    output: [[" ", said(onlyText(turn, name, index)), "\n\n"]],
    ...(turn.role === "assistant" ? { overlap: ["User:"] } : {})
  })
})
