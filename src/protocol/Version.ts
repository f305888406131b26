/**
 * The version of this package, as it introduces itself on the wire. Written from package.json.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category constants
 */
export const version = "0.1.0"
