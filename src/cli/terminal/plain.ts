/**
 * Text that came from elsewhere, made fit for a terminal: a server's or a model's words must not move the cursor, change the title
 * or turn the direction of what follows.
 */

// Control characters but for tab and line feed, and marks of direction
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

// oxlint-disable-next-line no-control-regex
const breaks = /[\t\n]/g

/** Of several lines. */
export const plain = (text: string): string => text.replaceAll("\r\n", "\n").replaceAll(controls, "\uFFFD")

/** Of one line. */
export const plainLine = (text: string): string => plain(text).replaceAll(breaks, "\uFFFD")

/** What `style` writes. */
// oxlint-disable-next-line no-control-regex
const ours = /(\u001b\[(?:0|1|2|31|32|36)m)/

/** A line in which styles of this program may stand. */
export const plainStyled = (line: string): string =>
  line.split(ours).map((part) => ours.test(part) ? part : plain(part)).join("")

// oxlint-disable-next-line no-control-regex
const styles = /(\u001b\[[0-9;]*m)/

/** What a logger writes, whose own styles stay. */
export const plainLog = (text: string): string =>
  text.split(styles).map((part) => styles.test(part) ? part : plain(part)).join("")

/** JSON in which control characters are escapes: `JSON.stringify` leaves some as they are. */
export const plainJson = (json: string): string =>
  json.replaceAll(controls, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`)
