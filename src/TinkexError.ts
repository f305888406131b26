/**
 * Every error that users of the package meet, how they come from the wire, and what each means for retries.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { type InvalidInput, TypeId } from "./protocol/InvalidInput.js"
import type {
  BadRequest,
  BillingPaused,
  CircuitOpen,
  ClientClosed,
  ConfigurationError,
  Conflict,
  ConnectionError,
  FutureExpired,
  FutureTimeout,
  MalformedResponse,
  NotFound,
  PermissionDenied,
  RateLimited,
  RequestFailed,
  RequestTimeout,
  ServerError,
  Unauthorized,
  UnexpectedStatus
} from "./TinkexError/internal/errors.js"

export {
  /**
   * The mark that every error here carries.
   *
   * @since 0.1.0
   * @category symbols
   */
  InvalidInput,
  TypeId
} from "./protocol/InvalidInput.js"
export * from "./TinkexError/internal/disposition.js"
export * from "./TinkexError/internal/errors.js"
export * from "./TinkexError/internal/mapping.js"

/**
 * Errors that one HTTP request can end with, after its retries.
 *
 * @since 0.1.0
 * @category models
 */
export type TransportError =
  | BadRequest
  | BillingPaused
  | CircuitOpen
  | Conflict
  | ConnectionError
  | MalformedResponse
  | NotFound
  | PermissionDenied
  | RateLimited
  | RequestTimeout
  | ServerError
  | Unauthorized
  | UnexpectedStatus

/**
 * Every error of the package. Match on `_tag`; the message says what was being done, what came back and what to do next.
 *
 * @since 0.1.0
 * @category models
 */
export type TinkexError =
  | TransportError
  | ClientClosed
  | ConfigurationError
  | FutureExpired
  | FutureTimeout
  | InvalidInput
  | RequestFailed

/**
 * Whether a value is an error of this package, also of another copy of it.
 *
 * @since 0.1.0
 * @category guards
 */
export const isTinkexError = (u: unknown): u is TinkexError => Predicate.hasProperty(u, TypeId)

/**
 * The expected error of a cause, if it has one: not that of an interruption or a defect.
 *
 * @since 0.1.0
 * @category getters
 */
export const failureOf = <E>(cause: Cause.Cause<E>): E | undefined => Option.getOrUndefined(Cause.failureOption(cause))
