/** Connections of Node's HTTP client: direct, or through the proxies that the environment names. */
import { Agent, type Dispatcher, EnvHttpProxyAgent } from "@effect/platform-node/Undici"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Bun puts a module of its own in the place of undici, whose agents can neither be composed nor ended. */
export const undiciIsWhole = "compose" in Agent.prototype && "destroy" in Agent.prototype

export interface Settings {
  readonly connections: number
  /** In milliseconds. */
  readonly keepAliveTimeout: number
}

type Environment = Readonly<Record<string, string | undefined>>

/** As undici, curl and others read them: the lower-case name wins. */
const names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"] as const

const loopback = ["localhost", "127.0.0.1", "[::1]"]

/** A variable that is no address of a proxy. */
class BadProxy {
  readonly _tag = "BadProxy"
  constructor(readonly variable: string) {}
}

const isProxy = (text: string): boolean =>
  URL.canParse(text) && ["http:", "https:", "socks5:"].includes(new URL(text).protocol)

/** What is never sent through a proxy: what `NO_PROXY` says, and this machine. */
const noProxy = (environment: Environment): string => {
  const given = (environment["no_proxy"] ?? environment["NO_PROXY"] ?? "").trim()
  return given === "*" ? "*" : [given, ...loopback].filter((one) => one !== "").join(",")
}

/** Connections that are closed with the scope. */
export const make = (
  settings: Settings,
  environment: Environment = process.env
): Effect.Effect<Dispatcher, BadProxy, Scope.Scope> => {
  const set = names.filter((name) => environment[name] !== undefined && environment[name] !== "")
  const bad = set.find((name) => !isProxy(environment[name] ?? ""))
  if (bad !== undefined) return Effect.fail(new BadProxy(bad))
  return Effect.acquireRelease(
    Effect.sync((): Dispatcher =>
      set.length === 0
        ? new Agent(settings)
        : new EnvHttpProxyAgent({
          ...settings,
          // plain HTTP is forwarded, as curl and Python do it: proxies seldom allow a tunnel to port 80
          proxyTunnel: false,
          httpProxy: environment["http_proxy"] ?? environment["HTTP_PROXY"] ?? "",
          httpsProxy: environment["https_proxy"] ?? environment["HTTPS_PROXY"] ?? "",
          noProxy: noProxy(environment)
        })
    ),
    (agent) => Effect.promise(() => agent.destroy())
  )
}
