/**
 * What the WebAssembly module of the kernels exports.
 *
 * @since 0.1.0
 */

/**
 * The exported kernels; `src/engine/kernels/assembly` says what each does. Strides are in floats, addresses in bytes, flags 0 or 1.
 * Matrices are row-major. Every entry of a product is summed over k in ascending order in blocks of 256, so that it does
 * not depend on how many rows are computed together.
 */
export interface KernelFunctions {
  /** `C[m][n] (+)= alpha A[m][k] B[k][n]`; both operands through row and column strides. */
  readonly gemm: (
    m: number,
    n: number,
    k: number,
    a: number,
    aRowStride: number,
    aColumnStride: number,
    b: number,
    bRowStride: number,
    bColumnStride: number,
    c: number,
    ldc: number,
    alpha: number,
    accumulate: number
  ) => void
  /** Floats of `packWeight`'s result. */
  readonly packedLength: (n: number, k: number) => number
  /** Packs `B[k][n]` for `gemmPacked`. A weight `W[n][k]` is B with strides (1, k). */
  readonly packWeight: (n: number, k: number, b: number, bRowStride: number, bColumnStride: number, to: number) => void
  /** `C[m][n] (+)= A[m][k] B`, with the bits of `gemm`; made for a few rows at a time. */
  readonly gemmPacked: (
    m: number,
    n: number,
    k: number,
    a: number,
    lda: number,
    packed: number,
    c: number,
    ldc: number,
    accumulate: number
  ) => void
  /** `C[m][n] (+)= alpha A[m][k] W^T` for a stored `W[n][k]`, with the bits of `gemm` for its unpacked weights. */
  readonly gemmPanels: (
    m: number,
    n: number,
    k: number,
    a: number,
    lda: number,
    panels: number,
    form: number,
    c: number,
    ldc: number,
    alpha: number,
    accumulate: number
  ) => void
  /** `C[m][k] (+)= A[m][n] W` for a stored `W[n][k]`. */
  readonly gemmPanelsTransposed: (
    m: number,
    n: number,
    k: number,
    a: number,
    lda: number,
    panels: number,
    form: number,
    c: number,
    ldc: number,
    accumulate: number
  ) => void
  /** Rows of a stored table. */
  readonly embedPanels: (rows: number, n: number, tokens: number, panels: number, form: number, out: number) => void
  readonly rmsNorm: (
    rows: number,
    n: number,
    x: number,
    weight: number,
    out: number,
    inverse: number,
    eps: number
  ) => void
  readonly rmsNormBackward: (
    rows: number,
    n: number,
    x: number,
    weight: number,
    inverse: number,
    dout: number,
    dx: number,
    dweight: number
  ) => void
  readonly headNormRotate: (
    rows: number,
    heads: number,
    n: number,
    x: number,
    xStride: number,
    weight: number,
    out: number,
    positions: number,
    cosine: number,
    sine: number,
    inverse: number,
    eps: number
  ) => void
  readonly headNormRotateBackward: (
    rows: number,
    heads: number,
    n: number,
    x: number,
    xStride: number,
    weight: number,
    dout: number,
    dx: number,
    positions: number,
    cosine: number,
    sine: number,
    inverse: number,
    dweight: number
  ) => void
  readonly headRotate: (
    rows: number,
    heads: number,
    n: number,
    x: number,
    xStride: number,
    out: number,
    positions: number,
    cosine: number,
    sine: number
  ) => void
  readonly headRotateBackward: (
    rows: number,
    heads: number,
    n: number,
    xStride: number,
    dout: number,
    dx: number,
    positions: number,
    cosine: number,
    sine: number
  ) => void
  /** Floats of scratch for sequences up to `longest`. */
  readonly attentionScratch: (longest: number) => number
  readonly attentionForward: (
    sequences: number,
    starts: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    q: number,
    k: number,
    v: number,
    vStride: number,
    out: number,
    lse: number,
    scratch: number
  ) => void
  readonly attentionBackward: (
    sequences: number,
    starts: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    q: number,
    k: number,
    v: number,
    vStride: number,
    out: number,
    lse: number,
    dout: number,
    dq: number,
    dk: number,
    dv: number,
    scratch: number
  ) => void
  /** `lse` is double precision: 8 bytes a row. */
  readonly logSumExp: (rows: number, n: number, logits: number, lse: number) => void
  readonly gatherLogprobs: (
    rows: number,
    n: number,
    logits: number,
    lse: number,
    bounds: number,
    targets: number,
    out: number
  ) => void
  readonly logitGradient: (
    rows: number,
    n: number,
    logits: number,
    lse: number,
    bounds: number,
    targets: number,
    gradient: number
  ) => void
  readonly embed: (rows: number, n: number, tokens: number, table: number, out: number) => void
  readonly embedBackward: (rows: number, n: number, tokens: number, dout: number, dtable: number) => void
  readonly swiglu: (rows: number, n: number, gateUp: number, out: number) => void
  readonly swigluBackward: (rows: number, n: number, gateUp: number, dout: number) => void
  readonly addToRows: (rows: number, n: number, x: number, vector: number) => void
  readonly sumRows: (rows: number, n: number, x: number, vector: number) => void
  readonly add: (n: number, from: number, to: number) => void
  readonly sumOfSquares: (n: number, x: number) => number
  readonly adamw: (
    n: number,
    parameters: number,
    gradients: number,
    m: number,
    v: number,
    clip: number,
    keep: number,
    beta1: number,
    rest1: number,
    beta2: number,
    rest2: number,
    rate: number,
    root: number,
    eps: number
  ) => void
  readonly uniform: (
    n: number,
    out: number,
    seedLow: number,
    seedHigh: number,
    stream: number,
    bound: number
  ) => void
  /** Puts keys and values of rows into the pages of their sequences. */
  readonly remember: (
    rows: number,
    keys: number,
    keyStride: number,
    values: number,
    valueStride: number,
    tables: number,
    positions: number,
    layer: number,
    width: number
  ) => void
  /** Causal attention of rows over the pages of their sequences. */
  readonly attend: (
    rows: number,
    q: number,
    tables: number,
    positions: number,
    layer: number,
    out: number,
    scores: number,
    heads: number,
    kvHeads: number,
    headDim: number
  ) => void
  /** Writes `exp((logit - max) / temperature)` of a row and gives the logarithm of their sum. */
  readonly temper: (n: number, logits: number, temperature: number, weights: number) => number
}
