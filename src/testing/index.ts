/**
 * For tests of programs that use tinkex.
 *
 * @since 0.1.0
 */

/**
 * What goes wrong at the embedded server, and when.
 *
 * @since 0.1.0
 */
export * as FaultScript from "./FaultScript.js"

/**
 * An engine without a model that writes down what it is asked.
 *
 * @since 0.1.0
 */
export * as RecordingEngine from "./RecordingEngine.js"

/**
 * Cassettes: what a program and a service said, in a file, and the program again without the service.
 *
 * @since 0.2.0
 */
export * as Replay from "./Replay.js"

/**
 * The embedded server in the process of a test.
 *
 * @since 0.1.0
 */
export * as TestServer from "./TestServer.js"

/**
 * Time that passes by itself.
 *
 * @since 0.1.0
 */
export * as VirtualClock from "./VirtualClock.js"
