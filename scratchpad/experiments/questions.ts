/** A little data for experiments: sums and their answers, half to train on and half held out. */
import { Datum, Tokenizer } from "tinkex"

const { encode } = Tokenizer.nano

const sum = (a: number, b: number) => Datum.fromCompletion(encode(`${a} + ${b} =`), encode(` ${a + b}<|endoftext|>`))
const pairs = Array.from({ length: 100 }, (_, i) => [Math.floor(i / 10), i % 10] as const)

export const training = pairs.filter(([a, b]) => (a + b) % 2 === 0).map(([a, b]) => sum(a, b))
export const heldOut = pairs.filter(([a, b]) => (a + b) % 2 === 1).map(([a, b]) => sum(a, b))

/** Targets that count, of a batch. */
export const weight = (data: ReadonlyArray<Datum.Datum>): number =>
  data.reduce(
    (total, { lossFnInputs }) =>
      total + Array.from(lossFnInputs["weights"]?.data ?? [], Number).reduce((a, b) => a + b, 0),
    0
  )
