/** What is known of the runtime, read without assuming one. */
import * as Predicate from "effect/Predicate"

export interface Platform {
  readonly os: string
  readonly arch: string
  readonly runtime: string
  readonly runtimeVersion: string
}

const systems: Readonly<Record<string, string>> = {
  darwin: "MacOS",
  linux: "Linux",
  win32: "Windows",
  freebsd: "FreeBSD",
  openbsd: "OpenBSD",
  ios: "iOS",
  android: "Android"
}

const machines: Readonly<Record<string, string>> = { ia32: "x32", x64: "x64", arm: "arm", arm64: "arm64" }

const named = (table: Readonly<Record<string, string>>, value: unknown, other: string): string =>
  typeof value !== "string" ? "unknown" : Object.hasOwn(table, value) ? table[value]! : `${other}:${value}`

const at = (value: unknown, key: string): unknown => Predicate.isObject(value) ? Reflect.get(value, key) : undefined

/** The names that the official SDK gives to systems and machines (docs/protocol/transport.md#headers). */
export const platformOf = (host: object): Platform => {
  const process = at(host, "process")
  const versions = at(process, "versions")
  for (const runtime of ["bun", "deno", "node"]) {
    const version = at(versions, runtime)
    if (typeof version === "string") {
      return {
        os: named(systems, at(process, "platform"), "Other"),
        arch: named(machines, at(process, "arch"), "other"),
        runtime,
        runtimeVersion: version
      }
    }
  }
  const browser = typeof at(at(host, "navigator"), "userAgent") === "string"
  return { os: "unknown", arch: "unknown", runtime: browser ? "browser" : "unknown", runtimeVersion: "unknown" }
}
