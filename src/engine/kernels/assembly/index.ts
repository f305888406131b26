// The numerical kernels of the engine; `scripts/build-wasm.mjs` compiles them.
export { heapBase, scratchBytes, setScratch } from "./scratch"
export { gemm, gemmPacked, packedLength, packWeight } from "./gemm"
export { rmsNorm, rmsNormBackward, headNormRotate, headNormRotateBackward } from "./norm"
export { attentionBackward, attentionForward, attentionScratch } from "./attention"
export { gatherLogprobs, logitGradient, logSumExp } from "./softmax"
export { adamw, add, embed, embedBackward, sumOfSquares, swiglu, swigluBackward, uniform } from "./elementwise"
export { attend, remember, temper } from "./decode"
