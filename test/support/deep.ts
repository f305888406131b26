/**
 * How large the heavy tests are. `npm test` runs them at a tenth of their size, `npm run test:deep` in full: it sets
 * TINKEX_DEEP=1 and runs the files that read this module.
 */

/** Whether this is a run in full size. */
export const deep: boolean = process.env["TINKEX_DEEP"] === "1"

/** `size` in a run in full size, a tenth of it otherwise, though never less than `least`. */
export const sized = (size: number, least = 1): number =>
  deep ? size : Math.min(size, Math.max(least, Math.ceil(size / 10)))
