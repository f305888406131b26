import { defineConfig, mergeConfig } from "vitest/config"
import shared from "../../vitest.config.js"

/** The tests on a real model: one file after another, each with minutes to spend. */
export default mergeConfig(
  { ...shared, test: { ...shared.test, include: [], exclude: [] } },
  defineConfig({
    test: {
      include: ["test/models/**/*.test.ts"],
      fileParallelism: false,
      testTimeout: 1_800_000,
      hookTimeout: 120_000
    }
  })
)
