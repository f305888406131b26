/** Text that came from elsewhere, made fit for a label, a log line or a terminal. */
import { withoutKeys } from "../redaction.js"

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const control = /[\u0000-\u001f\u007f-\u009f]+/g

/** Without control characters (a server's text must not move the cursor) nor anything shaped like a key; at most `limit` long. */
export const scrub = (text: string, limit: number): string => {
  const clean = withoutKeys(text).replace(control, " ")
  return clean.length <= limit ? clean : `${clean.slice(0, limit - 1)}…`
}
