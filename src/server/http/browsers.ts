/**
 * What a web page in somebody's browser may do. A server on a machine can be reached by every page that is open there: under
 * a name of the page's own that is made to point here (DNS rebinding), or by requests that browsers send without asking.
 *
 * @internal
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { refused } from "./http.js"
import { forbidden } from "./refusal.js"

/** @internal */
export interface Trusted {
  /** Names under which the server may be asked besides those that no page can take. */
  readonly hosts: ReadonlyArray<string>
  /** Origins of pages that may use the server; `*` for all. */
  readonly origins: ReadonlyArray<string>
}

/** The host of a Host header, without the port. */
const nameOf = (host: string): string =>
  host.replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "").toLowerCase()

/**
 * Addresses and names without a dot cannot be pointed here by a stranger: the first need no resolving, the second are not
 * in the public tree of names.
 *
 * @internal
 */
export const isOwnHost = (host: string, hosts: ReadonlyArray<string>): boolean => {
  const name = nameOf(host)
  return Net.isIP(name) !== 0 || (name !== "" && !name.includes(".")) || name.endsWith(".localhost") ||
    hosts.some((own) => own.toLowerCase() === name)
}

const foreignHost = refused(forbidden(
  "Host: this server is asked under a name that is not known to be its own; if it is, start it with that name as an allowed host (--allow-host NAME)"
))

const foreignPage = refused(forbidden(
  "Origin: this server is asked by a page of another origin; if it may, start it with that origin (--cors ORIGIN)"
))

/** @internal */
export const guarding = ({ hosts, origins }: Trusted) =>
<R>(
  app: HttpApp.Default<never, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, method }) => {
    const { host, origin } = headers
    if (host !== undefined && !isOwnHost(host, hosts)) return Effect.succeed(foreignHost)
    if (origin === undefined) return isFromPage(headers, method) ? Effect.succeed(foreignPage) : app
    if (origins.includes(origin) || origins.includes("*")) {
      const allow = HttpServerResponse.setHeaders({
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "*",
        vary: "Origin"
      })
      return method === "OPTIONS" && headers["access-control-request-method"] !== undefined
        ? Effect.succeed(allow(preflight(headers)))
        : Effect.map(app, allow)
    }
    return isSame(origin, host) ? app : Effect.succeed(foreignPage)
  })

/** What the browser asks before it sends the request itself. No key comes with it. */
const preflight = (headers: Readonly<Record<string, string | undefined>>): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.empty({
    status: 204,
    headers: {
      "access-control-allow-methods": "GET, POST, PUT, DELETE, HEAD",
      // they are the page's own words, and go back to nobody else
      "access-control-allow-headers": headers["access-control-request-headers"] ?? "*",
      "access-control-max-age": "600",
      ...(headers["access-control-request-private-network"] === "true"
        ? { "access-control-allow-private-network": "true" }
        : {})
    }
  })

/** A page that this server, or a proxy in front of it, gave out itself. */
const isSame = (origin: string, host: string | undefined): boolean =>
  host !== undefined && (origin === `http://${host}` || origin === `https://${host}`)

/** A request of a page of another origin that browsers send without naming it: pictures, scripts. Links may be followed. */
const isFromPage = (headers: Readonly<Record<string, string | undefined>>, method: string): boolean => {
  const site = headers["sec-fetch-site"]
  return (site === "cross-site" || site === "same-site") &&
    !(headers["sec-fetch-mode"] === "navigate" && method === "GET")
}
