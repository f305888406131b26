/** Refusals of data, inside what `attempt` turns into an effect. */
import { InvalidInput } from "./InvalidInput.js"

export const refuse = (field: string, expected: string, actual: string, index?: number): never => {
  throw new InvalidInput({ field, expected, actual, ...(index === undefined ? {} : { index }) })
}
