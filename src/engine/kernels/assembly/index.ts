// The numerical kernels of the engine; `scripts/build-wasm.mjs` compiles them.
export { heapBase, scratchBytes, setScratch } from "./scratch"
export { gemm, gemmPacked, packedLength, packWeight } from "./gemm"
export {
  headNormRotate,
  headNormRotateBackward,
  headRotate,
  headRotateBackward,
  rmsNorm,
  rmsNormBackward
} from "./norm"
export { embedPanels, gemmPanels, gemmPanelsTransposed, rowBlocks, rowHalves } from "./panels"
export { attentionBackward, attentionForward, attentionScratch } from "./attention"
export { gatherLogprobs, logitGradient, logSumExp } from "./softmax"
export {
  adamw,
  add,
  addToRows,
  embed,
  embedBackward,
  sumOfSquares,
  sumRows,
  swiglu,
  swigluBackward,
  uniform
} from "./elementwise"
export { attend, remember, temper } from "./decode"
// Exported only so that the optimiser keeps them functions of their own: within a larger one, their sums are spilled.
export { tile1, tile1Wide, tile4, tile4Strided, tile6, tile6Strided } from "./tiles"
