/** One line of the bench: a figure, its unit and, where we promise something, the target that it must meet. */
export interface Row {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** `null`: no promise, for comparison only. */
  readonly target: number | null
  /** Whether the target is a floor (`higher`) or a ceiling (`lower`). */
  readonly better: "higher" | "lower"
}
