/** Where a program keeps what it can fetch again, by the platform's own convention. */
import * as Os from "node:os"
import * as Path from "node:path"

type Environment = Readonly<Record<string, string | undefined>>

const given = (environment: Environment, name: string): string | undefined => {
  const value = environment[name]
  return value === undefined || value.trim() === "" ? undefined : value
}

/** `TINKEX_CACHE`, or `tinkex` in the folder for caches of this platform. */
export const cacheDirectory = (
  environment: Environment = process.env,
  platform: NodeJS.Platform = process.platform,
  home: string = Os.homedir()
): string => {
  const own = given(environment, "TINKEX_CACHE")
  if (own !== undefined) return own
  const parent = given(environment, "XDG_CACHE_HOME") ??
    (platform === "win32"
      ? given(environment, "LOCALAPPDATA") ?? Path.join(home, "AppData", "Local")
      : platform === "darwin"
      ? Path.join(home, "Library", "Caches")
      : Path.join(home, ".cache"))
  return Path.join(parent, "tinkex")
}
