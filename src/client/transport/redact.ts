/** The server's words, without what they may repeat of a request's credentials. */
import * as Redacted from "effect/Redacted"
import type { Settings } from "../../TinkexConfig.js"

/** Removes secrets from a text; `more` is a credential that only this request carried. */
export interface Redact {
  (text: string, more?: Redacted.Redacted): string
}

/** What keys and tokens of the hosted service look like (design.md 4, "Keys"). */
const keys = /(?:tml-|eyJ)[A-Za-z0-9._~+/=-]{6,}/g

/** Anything shorter turns up in words by chance, and would not be a secret for long. */
const shortest = 8

const replacement = "<redacted>"

/** The key, the access secret and the values of the headers that a client was given are replaced, and whatever looks like a key. */
export const make = (settings: Settings): Redact => {
  const secrets = [
    ...(settings.apiKey === undefined ? [] : [Redacted.value(settings.apiKey)]),
    ...(settings.cloudflareAccess === undefined ? [] : [Redacted.value(settings.cloudflareAccess.clientSecret)]),
    ...Object.values(settings.headers)
  ].filter((secret) => secret.length >= shortest)
  return (text, more) => {
    let clean = text
    for (const secret of secrets) clean = clean.replaceAll(secret, replacement)
    if (more !== undefined && Redacted.value(more).length >= shortest) {
      clean = clean.replaceAll(Redacted.value(more), replacement)
    }
    return clean.replace(keys, replacement)
  }
}
