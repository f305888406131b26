/** The server's words, fit for errors, logs and reports: without secrets, and without what they may repeat of a request. */
import * as Redaction from "../../observability/redaction.js"
import type { Settings } from "../../TinkexConfig.js"

export type { Redactor } from "../../observability/redaction.js"

/** Removes the key, the access secret and the values of the client's headers, and what the transport learns later. */
export const make = (settings: Settings): Redaction.Redactor => {
  const secrets = Redaction.make([
    ...(settings.apiKey === undefined ? [] : [settings.apiKey]),
    ...(settings.cloudflareAccess === undefined ? [] : [settings.cloudflareAccess.clientSecret]),
    ...Object.values(settings.headers)
  ])
  return Object.assign((text: string) => Redaction.withoutData(secrets(text)), { learn: secrets.learn })
}
