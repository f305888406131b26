/**
 * Losses written as differentiable functions of `@jax-js/jax`, which takes their gradients. The package is yours to install
 * and to initialise (`await init("wasm")`); its functions are passed in, so that nothing is loaded here.
 *
 * @since 0.1.0
 */
import type { Datum } from "../protocol/Datum.js"
import type { CustomLoss } from "./CustomLoss.js"
import type { Differentiable } from "./Regularizer.js"

/**
 * What is read of an array of `@jax-js/jax`. Reading it uses it up, as everything does there.
 *
 * @since 0.1.0
 * @category models
 */
export interface JaxArray {
  readonly dataSync: () => ArrayLike<number>
}

/**
 * What is used of the module `@jax-js/jax` for a loss.
 *
 * @since 0.1.0
 * @category models
 */
export interface Jax<A extends JaxArray> {
  readonly numpy: { readonly array: (values: Float32Array, options: { readonly shape: Array<number> }) => A }
  readonly valueAndGrad: (f: (logprobs: Array<A>) => A) => (logprobs: Array<A>) => [A, Array<A>]
}

/**
 * A custom loss from a function of the log-probabilities of the batch, an array for each datum in its shape, to a scalar.
 * float32.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A extends JaxArray>(
  jax: Jax<A>,
  loss: (logprobs: Array<A>, data: ReadonlyArray<Datum>) => A
): CustomLoss =>
(data, logprobs) => {
  const arrays = logprobs.map(({ shape, values }) => jax.numpy.array(Float32Array.from(values), { shape: [...shape] }))
  const [value, gradients] = jax.valueAndGrad((given) => loss(given, data))(arrays)
  return { loss: value.dataSync()[0], gradients: gradients.map((gradient) => gradient.dataSync()) }
}

/**
 * What is used of the module `@jax-js/jax` for second derivatives.
 *
 * @since 0.1.0
 * @category models
 */
export interface JaxDerivatives<A extends JaxArray> {
  readonly numpy: { readonly array: (values: Float32Array) => A }
  readonly grad: (f: (x: A) => A) => (x: A) => A
  readonly jvp: (f: (x: A) => A, primals: [A], tangents: [A]) => [A, A]
}

/**
 * First and second derivatives of a scalar function of the log-probabilities of one datum, as `Regularizer.gradientPenalty`
 * takes them. The Hessian-vector product is the derivative of the gradient along v.
 *
 * @since 0.1.0
 * @category constructors
 */
export const differentiable = <A extends JaxArray>(jax: JaxDerivatives<A>, f: (x: A) => A): Differentiable => {
  const array = (values: Float64Array) => jax.numpy.array(Float32Array.from(values))
  const gradient = jax.grad(f)
  return {
    gradient: (x) => gradient(array(x)).dataSync(),
    hessianVector: (x, v) => {
      const [primal, tangent] = jax.jvp(gradient, [array(x)], [array(v)])
      primal.dataSync()
      return tangent.dataSync()
    }
  }
}
