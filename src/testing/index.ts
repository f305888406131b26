/**
 * For tests of programs that use tinkex.
 *
 * @since 0.1.0
 */

/**
 * The embedded server in the process of a test.
 *
 * @since 0.1.0
 */
export * as TestServer from "./TestServer.js"
