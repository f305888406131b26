import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const src = fileURLToPath(new URL("./src", import.meta.url))

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/interop/**", "node_modules/**"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      exclude: ["src/engine/kernels/assembly/**", "**/gen/**", "**/*.generated.ts"],
      reporter: ["text-summary", "json-summary"]
    }
  },
  resolve: {
    alias: [
      { find: /^tinkex$/, replacement: `${src}/index.ts` },
      { find: /^tinkex\/testing$/, replacement: `${src}/testing/index.ts` },
      { find: /^tinkex\/(Tinkex|NodeTinkex|LocalTinkex|TinkexConfig|TinkexError)$/, replacement: `${src}/$1.ts` }
    ]
  }
})
