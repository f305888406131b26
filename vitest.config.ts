import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const root = fileURLToPath(new URL(".", import.meta.url))

/** Every subpath of the package is its source in the tests. */
const { exports }: { exports: Record<string, string | { readonly default: string }> } = JSON.parse(
  readFileSync(`${root}package.json`, "utf8")
)
const alias = Object.entries(exports).flatMap(([subpath, target]) =>
  typeof target === "string" ? [] : [{
    find: new RegExp(`^tinkex${subpath.slice(1)}$`),
    replacement: `${root}${target.default.replace("./dist/", "src/").replace(/\.js$/, ".ts")}`
  }]
)

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/interop/**", "test/models/**", "node_modules/**"],
    setupFiles: ["test/support/setup.ts"],
    // a net for what hangs, not a limit: a busy machine fails no test
    testTimeout: 600_000,
    hookTimeout: 600_000,
    teardownTimeout: 60_000,
    maxWorkers: "100%",
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      exclude: ["src/engine/kernels/assembly/**", "**/gen/**", "**/*.generated.ts"],
      reporter: ["text-summary", "json-summary"]
    }
  },
  resolve: { alias }
})
