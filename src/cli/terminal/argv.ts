/**
 * Options may come after arguments: `tinkex checkpoint delete PATH --yes`. The parser wants them before, so they are moved.
 */

/** Options that take no value. */
const flags = new Set([
  "--json",
  "--yes",
  "-y",
  "--force",
  "--remove",
  "--strict-load",
  "--experimental-losses",
  "--sampler",
  "--no-mlp",
  "--no-attn",
  "--no-unembed",
  "--logprobs",
  "--url-only",
  "--dry-run",
  "--local",
  "--help",
  "-h",
  "--version",
  "--wizard"
])

/**
 * `args` are those after the name of the program; `groups` the commands that have commands below them. What follows `--` is
 * left alone.
 */
export const optionsFirst = (
  args: ReadonlyArray<string>,
  groups: ReadonlySet<string>
): ReadonlyArray<string> => {
  let depth = 0
  while (depth < args.length && depth < 2 && !args[depth]?.startsWith("-")) {
    depth++
    if (!groups.has(args[depth - 1] ?? "")) break
  }
  const options: Array<string> = []
  const values: Array<string> = []
  for (let i = depth; i < args.length; i++) {
    const arg = args[i] ?? ""
    if (arg === "--") {
      values.push(...args.slice(i + 1))
      break
    }
    if (!arg.startsWith("-") || arg === "-") values.push(arg)
    else {
      options.push(arg)
      const next = args[i + 1]
      if (!flags.has(arg) && !arg.includes("=") && next !== undefined) {
        options.push(next)
        i++
      }
    }
  }
  return [...args.slice(0, depth), ...options, ...values]
}
