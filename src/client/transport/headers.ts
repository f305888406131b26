/** The headers of a request (docs/protocol/transport.md#headers). */
import * as Redacted from "effect/Redacted"
import { version } from "../../protocol/Version.js"
import type { Settings } from "../../TinkexConfig.js"
import { platformOf } from "./platform.js"

/**
 * The official SDK whose protocol is spoken. Servers refuse sessions of versions that they no longer know (docs/protocol-notes.md#what-newer-sdks-changed-and-what-tinkex-does), so
 * this, and not our own version, is what `sdk_version` says; `User-Agent` says who we are.
 */
export const sdkVersion = "0.38.0"

/** What every request of a client carries. Names in lower case. */
export const commonHeaders = (settings: Settings, host: object = globalThis): Readonly<Record<string, string>> => {
  const platform = platformOf(host)
  return {
    accept: "application/json",
    "user-agent": `tinkex/${version} (TypeScript)`,
    "x-stainless-package-version": sdkVersion,
    "x-stainless-lang": "js",
    "x-stainless-os": platform.os,
    "x-stainless-arch": platform.arch,
    "x-stainless-runtime": platform.runtime,
    "x-stainless-runtime-version": platform.runtimeVersion,
    ...(settings.cloudflareAccess === undefined ? {} : {
      "cf-access-client-id": settings.cloudflareAccess.clientId,
      "cf-access-client-secret": Redacted.value(settings.cloudflareAccess.clientSecret)
    }),
    ...settings.headers
  }
}
