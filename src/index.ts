/**
 * tinkex: fine-tune and sample open-weight language models as typed, composable, interruptible Effects.
 *
 * @since 0.1.0
 */

/**
 * What a server answers when it does not do what was asked: a status and `{"detail": ...}`.
 *
 * @since 0.1.0
 */
export * as ApiError from "./protocol/ApiError.js"

/**
 * The audit log of an organisation (docs/protocol/account.md#audit).
 *
 * @since 0.1.0
 */
export * as Audit from "./protocol/Audit.js"

/**
 * What was used and what it costs (docs/protocol/account.md#usage).
 *
 * @since 0.1.0
 */
export * as Billing from "./protocol/Billing.js"

/**
 * Saved checkpoints and the training runs that they belong to.
 *
 * @since 0.1.0
 */
export * as Checkpoint from "./protocol/Checkpoint.js"

/**
 * One training example: what the model reads and what the loss needs.
 *
 * @since 0.1.0
 */
export * as Datum from "./protocol/Datum.js"

/**
 * Training requests and their results as protobuf (docs/protocol/protobuf.md), both ways. Written by hand, because numbers then go
 * from memory to the wire and back as whole blocks; generated code is what the tests hold it against.
 *
 * @since 0.1.0
 */
export * as ForwardBackwardCodec from "./protocol/ForwardBackwardCodec.js"

/**
 * Training requests and their results as JSON, for peers that know nothing of protobuf (docs/protocol/protobuf.md#json-for-older-peers).
 *
 * @since 0.1.0
 */
export * as ForwardBackwardJson from "./protocol/ForwardBackwardJson.js"

/**
 * Requests whose result comes later, and the answers to polling for it.
 *
 * @since 0.1.0
 */
export * as Futures from "./protocol/Futures.js"

/**
 * The error of data that was refused before anything was sent or changed.
 *
 * @since 0.1.0
 */
export * as InvalidInput from "./protocol/InvalidInput.js"

/**
 * JSON as the services speak it: integers keep all their digits (`seq_id` and `seed` may be beyond 2^53), and numbers that are
 * not finite are `NaN`, `Infinity` and `-Infinity`, as Python writes them and as the official SDK reads them.
 *
 * @since 0.1.0
 */
export * as Json from "./protocol/Json.js"

/**
 * The error of bytes or JSON that are not what the protocol says.
 *
 * @since 0.1.0
 */
export * as MalformedMessage from "./protocol/MalformedMessage.js"

/**
 * Joins the results of the chunks of one call, and their metrics by the reduction that each name carries.
 *
 * @since 0.1.0
 */
export * as MetricReduction from "./protocol/MetricReduction.js"

/**
 * Creating, describing and unloading the models that are trained.
 *
 * @since 0.1.0
 */
export * as Model from "./protocol/Model.js"

/**
 * What a model reads: a sequence of text, image and audio chunks.
 *
 * @since 0.1.0
 */
export * as ModelInput from "./protocol/ModelInput.js"

/**
 * Schemas for long lists of numbers that check them in one pass, without one schema node per element.
 *
 * @since 0.1.0
 */
export * as NumericArray from "./protocol/NumericArray.js"

/**
 * What is wrong with data that does not fit its schema, in words that show where and what, never the values.
 *
 * @since 0.1.0
 */
export * as ParseProblem from "./protocol/ParseProblem.js"

/**
 * The paths of the protocol. All of them are under `prefix`; ids are written as `TinkerPath.encodeId` writes them.
 *
 * @since 0.1.0
 */
export * as Routes from "./protocol/Routes.js"

/**
 * Sampling results as protobuf (docs/protocol/protobuf.md), both ways. Requests travel as JSON, see `Sampling.SampleRequest`.
 *
 * @since 0.1.0
 */
export * as SampleCodec from "./protocol/SampleCodec.js"

/**
 * Sampling requests and their results.
 *
 * @since 0.1.0
 */
export * as Sampling from "./protocol/Sampling.js"

/**
 * What a service tells its clients: settings, limits, models, health, tokens.
 *
 * @since 0.1.0
 */
export * as Service from "./protocol/Service.js"

/**
 * Sessions: what a client opens, keeps alive and finishes, and how they are listed.
 *
 * @since 0.1.0
 */
export * as Session from "./protocol/Session.js"

/**
 * Events that a client reports to the service (docs/protocol/sessions.md#reports).
 *
 * @since 0.1.0
 */
export * as TelemetryEvents from "./protocol/TelemetryEvents.js"

/**
 * Tensors of the wire: flat data with a dtype and a shape, dense or sparse.
 *
 * @since 0.1.0
 */
export * as TensorData from "./protocol/TensorData.js"

/**
 * Addresses of checkpoints, `tinker://<run>/<kind>/<name>`, and their form in URLs.
 *
 * @since 0.1.0
 */
export * as TinkerPath from "./protocol/TinkerPath.js"

/**
 * Requests and results of training: losses, optimiser steps, LoRA settings.
 *
 * @since 0.1.0
 */
export * as Training from "./protocol/Training.js"

/**
 * The version of this package, as it introduces itself on the wire. Written from package.json.
 *
 * @since 0.1.0
 */
export * as Version from "./protocol/Version.js"

/**
 * Saving and loading weights.
 *
 * @since 0.1.0
 */
export * as Weights from "./protocol/Weights.js"

/**
 * Compressed bodies (docs/protocol/transport.md#compressed-bodies): one zstd frame, default level, content size in its header. The library behind it
 * is loaded on first use.
 *
 * @since 0.1.0
 */
export * as Zstd from "./protocol/Zstd.js"

/**
 * Circuit breakers: after repeated failures of a dependency, calls are refused at once instead of being sent to it, until
 * a probe shows that it has recovered.
 *
 * ```mermaid
 * stateDiagram-v2
 *   Closed --> Open: consecutive failures, failure rate or slow-call rate
 *   Open --> HalfOpen: open time over
 *   HalfOpen --> Closed: enough probes succeeded
 *   HalfOpen --> Open: a probe failed, longer
 * ```
 *
 * Nygard, Release It! (2nd ed., 2018), chapter 5, names the pattern; the rates over a window are those of resilience4j.
 * Every transition is a pure function inside one `Ref.modify`, and time is `Clock`, so `TestClock` drives it.
 *
 * @since 0.1.0
 */
export * as CircuitBreaker from "./resilience/CircuitBreaker.js"

/**
 * A gate before a shared resource: at most so many calls inside at once and so many bytes, first come first served, adapting
 * both the number inside and the rate of starts to what the resource refuses.
 *
 * - *Fair.* A permit that comes back is handed to the first in line; nobody else is woken, nobody overtakes.
 * - *Bytes* (docs/protocol/sampling.md#budgets-of-bytes): whoever is first may enter while the balance is not negative and may overdraw it, so that
 *   one oversize call still passes.
 * - *Adaptive number*: additive increase, multiplicative decrease (Chiu and Jain 1989; TCP's congestion avoidance, RFC 5681;
 *   the decrease of 0.9 and the rule that a gate less than half full does not grow are Netflix concurrency-limits'
 *   `AIMDLimit`). A refusal reduces the limit to 0.9 of the number that was inside when the refused call entered, at most
 *   once a round; each success adds `1 / limit`.
 * - *Adaptive rate*: a token bucket whose rate follows CUBIC (RFC 9438) as in AWS's adaptive retry mode (beta 0.7, scale
 *   0.4 per second cubed, smoothing 0.8), off until the first refusal. After a refusal it restarts at 0.7 of the refused
 *   rate, levels out at 0.95 of it, and probes on from there, gently up to 1.25 of it. In every window of t seconds
 *   there are at most `burst + rate * t` starts, where burst is 1 start or 50 ms' worth of them.
 *
 * @since 0.1.0
 */
export * as ConcurrencyGate from "./resilience/ConcurrencyGate.js"

/**
 * One shared back-off deadline per key: when a server says "too many requests, come back in t", everybody who talks to it
 * under that key waits, not only the caller that was told.
 *
 * ```mermaid
 * stateDiagram-v2
 *   Idle --> Waiting: setBackoff
 *   Waiting --> Waiting: setBackoff, later of the two deadlines
 *   Waiting --> Idle: deadline over, or a success that started after the last setBackoff
 * ```
 *
 * The deadline is kept in `Clock.currentTimeNanos`, which never goes back. It is extended, never shortened. A success clears
 * it only if it started after the last refusal: one that was already under way says nothing about the present. Whoever
 * waits looks again after waking, and wakes a random moment late, so that waiters do not return as a herd.
 *
 * @since 0.1.0
 */
export * as RateLimiter from "./resilience/RateLimiter.js"

/**
 * Retry budgets: retries may be a share of the calls made lately plus a small constant rate, so that a dependency that fails
 * for everybody is not buried under the retries of everybody.
 *
 * Finagle's `RetryBudget` (finagle.github.io/blog/2016/02/08/retry-budgets) and tower's `retry::budget`, with Finagle's
 * defaults: 20 % of the calls of the last 10 seconds plus 10 retries per second. In any 10 seconds there are at most
 * `percent * calls + minPerSecond * 10` retries; what was not used decays with the window.
 *
 * @since 0.1.0
 */
export * as RetryBudget from "./resilience/RetryBudget.js"

/**
 * Retry policies: how often to try again, how long to wait in between, and when to stop.
 *
 * The wait before attempt n + 1 is drawn uniformly from 0 to `min(cap, base * factor^(n - 1))`: "full jitter", which makes
 * the least work for the server among the usual ones (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
 * 2015). If the server said how long to wait, the drawn wait is added to that, never taken off. The last error comes out as
 * it went in.
 *
 * @since 0.1.0
 */
export * as RetryPolicy from "./resilience/RetryPolicy.js"

/**
 * A live view of a run in the terminal.
 *
 * @since 0.1.0
 */
export * as ConsoleView from "./observability/ConsoleView.js"

/**
 * The catalogue of built-in metrics: names, kinds, units, labels and what they mean.
 *
 * @since 0.1.0
 */
export * as MetricNames from "./observability/MetricNames.js"

/**
 * What metrics say when they are read: plain data, ready for `JSON.stringify`.
 *
 * @since 0.1.0
 */
export * as MetricSnapshot from "./observability/MetricSnapshot.js"

/**
 * Counters, gauges, histograms and summaries that the library keeps of itself, and that you may keep of your own.
 *
 * @since 0.1.0
 */
export * as Metrics from "./observability/Metrics.js"

/**
 * Small plots in text, for a terminal or a log.
 *
 * @since 0.1.0
 */
export * as Plot from "./observability/Plot.js"

/**
 * Line plots as SVG, for reports of experiments.
 *
 * @since 0.1.0
 */
export * as PlotSvg from "./observability/PlotSvg.js"

/**
 * Metrics as a page that Prometheus and its relatives scrape.
 *
 * @since 0.1.0
 */
export * as PrometheusExport from "./observability/PrometheusExport.js"

/**
 * Quantiles of a stream of numbers in bounded memory, with a relative error that is proven.
 *
 * @since 0.1.0
 */
export * as QuantileSketch from "./observability/QuantileSketch.js"

/**
 * Names of span attributes, so that every span tells the same thing under the same name.
 *
 * Spans are named after the method that opens them, `Client.method` (`SamplingClient.sample`, `TrainingClient.forwardBackward`);
 * the requests inside are spans of their own (`tinkex POST /api/v1/forward_backward`). Attributes hold ids and counts, never
 * contents. The library installs no exporter: spans go to the tracer of the application, and where that is Effect's own, which
 * shows them to nobody, none are opened.
 *
 * @since 0.1.0
 */
export * as Spans from "./observability/Spans.js"

/**
 * Mean and standard deviation over a sliding window of time.
 *
 * @since 0.1.0
 */
export * as Summary from "./observability/Summary.js"

/**
 * Events of everything that happens, for whoever wants to listen: metrics, logs, a console, your own code.
 *
 * @since 0.1.0
 */
export * as Telemetry from "./observability/Telemetry.js"

/**
 * What happens inside, as plain data: ids, counts and times, never a key, a prompt or a tensor.
 *
 * @since 0.1.0
 */
export * as TelemetryEvent from "./observability/TelemetryEvent.js"

/**
 * Text to tokens and back: a tokenizer as a plain value.
 *
 * @since 0.1.0
 */
export * as Tokenizer from "./tokenizer/Tokenizer.js"

/**
 * The error of loading a tokenizer, or of tokens that it does not have.
 *
 * @since 0.1.0
 */
export * as TokenizerError from "./tokenizer/TokenizerError.js"

/**
 * Where tokenizers come from: the bundle, a folder, the Hugging Face hub.
 *
 * @since 0.1.0
 */
export * as TokenizerSource from "./tokenizer/TokenizerSource.js"

/**
 * The tokenizers of models by name, each loaded once.
 *
 * @since 0.1.0
 */
export * as Tokenizers from "./tokenizer/Tokenizers.js"

/**
 * Conversations in files, and conversations to training data.
 *
 * @since 0.2.0
 */
export * as Conversation from "./chat/Conversation.js"

/**
 * Messages of a conversation: who said what, as text, reasoning, images and tool calls.
 *
 * @since 0.2.0
 */
export * as Message from "./chat/Message.js"

/**
 * Renderers: a conversation to the tokens that a model expects, and its answer back to a message.
 *
 * @since 0.2.0
 */
export * as Renderer from "./chat/Renderer.js"

/**
 * The error of finding a renderer.
 *
 * @since 0.2.0
 */
export * as RendererError from "./chat/RendererError.js"

/**
 * Tools that a model may call: what it is told of them, and what becomes of its calls.
 *
 * @since 0.2.0
 */
export * as Tool from "./chat/Tool.js"

/**
 * Which parts of a conversation are learnt.
 *
 * @since 0.2.0
 */
export * as TrainOn from "./chat/TrainOn.js"

/**
 * A sampler and the renderer of its model together: messages in, messages out, with the log-probability of every token.
 *
 * @since 0.2.0
 */
export * as ChatModel from "./client/ChatModel.js"

/**
 * The result of an operation that the service has accepted: many may wait for it, one fiber polls.
 *
 * @since 0.1.0
 */
export * as Future from "./client/Future.js"

/**
 * The way of every request to the service: breaker, limiter, gate, attempt, repeat.
 *
 * @since 0.1.0
 */
export * as HttpTransport from "./client/HttpTransport.js"

/**
 * The weights that an application answers with, exchanged while it runs: all at once, or for a share of its users first.
 *
 * @since 0.2.0
 */
export * as ModelRef from "./client/ModelRef.js"

/**
 * Looking after what training leaves behind: runs, checkpoints, sessions, samplers, and the account.
 *
 * @since 0.1.0
 */
export * as RestClient from "./client/RestClient.js"

/**
 * Sampling from a model: a base model, saved weights, or those of a training run.
 *
 * @since 0.1.0
 */
export * as SamplingClient from "./client/SamplingClient.js"

/**
 * The sampling clients that are open: what each samples from, and which one is current.
 *
 * @since 0.1.0
 */
export * as SamplingRegistry from "./client/SamplingRegistry.js"

/**
 * The way in: one session at the service, and the clients that train and sample in it.
 *
 * @since 0.1.0
 */
export * as ServiceClient from "./client/ServiceClient.js"

/**
 * What a client reports to the service of itself: that its session began and ended, and what went wrong in between.
 *
 * @since 0.1.0
 */
export * as TelemetryReporter from "./client/TelemetryReporter.js"

/**
 * Training a model: passes over data, optimiser steps, saving and loading, in the order in which they are asked for.
 *
 * @since 0.1.0
 */
export * as TrainingClient from "./client/TrainingClient.js"

/**
 * Several passes, or several updates, submitted together and answered one by one.
 *
 * The service has no endpoint for batches. Items that stand next to each other and share loss and settings travel as one
 * request, because gradients add up; all requests go out in one turn, so that their numbers are contiguous and nothing of
 * others comes between; results are given back for each item.
 *
 * @since 0.1.0
 */
export * as Batch from "./training/Batch.js"

/**
 * Losses of your own: any differentiable function of the log-probabilities of the targets.
 *
 * The service computes gradients of cross-entropy, which is exactly linear in its weights. So the log-probabilities are
 * asked for first, your loss C gives dC/d logprob, and a second pass with `weights = -dC/d logprob` has the gradient of C
 * (docs/protocol/training.md#losses-of-your-own).
 *
 * @since 0.1.0
 */
export * as CustomLoss from "./training/CustomLoss.js"

/**
 * Checkpoints as files: fetched piece by piece, taken up again where a connection broke, and put in place when all is there.
 *
 * @since 0.1.0
 */
export * as Download from "./training/Download.js"

/**
 * Losses written as differentiable functions of `@jax-js/jax`, which takes their gradients. The package is yours to install
 * and to initialise (`await init("wasm")`); its functions are passed in, so that nothing is loaded here.
 *
 * @since 0.1.0
 */
export * as JaxLoss from "./training/JaxLoss.js"

/**
 * What is trained on, as text: each token of a datum with its weight, for a look before a long run.
 *
 * @since 0.1.0
 */
export * as Preview from "./training/Preview.js"

/**
 * Going on when a training run breaks at the service: it is watched, and restored from its newest checkpoint.
 *
 * @since 0.1.0
 */
export * as Recovery from "./training/Recovery.js"

/**
 * Penalties on the log-probabilities of a batch, with their exact gradients, to be added to a custom loss.
 *
 * The formula of each stands at its function; every gradient is held against finite differences. Values add up over the data of a
 * batch; with `reduction: "mean"` they are divided by the number of elements (or rows) of the whole batch.
 *
 * @since 0.1.0
 */
export * as Regularizer from "./training/Regularizer.js"

/**
 * Training steps, pipelined: gradients and update are submitted before either is awaited, and the next step before the last
 * one is done, so that the service never waits for the program.
 *
 * @since 0.1.0
 */
export * as TrainingLoop from "./training/TrainingLoop.js"

/**
 * A limit that is kept: what would pass it is refused before it is sent.
 *
 * Everything is entered in a ledger before it is spent. The ledger of a run is a file in its directory to which any number of
 * processes append: each line stands where the file system puts it, and whether a claim holds follows from the lines before it,
 * so that all who read it agree, without locks.
 *
 * @since 0.2.0
 */
export * as Budget from "./runs/Budget.js"

/**
 * When a run saves its state, and what of it is kept.
 *
 * @since 0.2.0
 */
export * as CheckpointPolicy from "./runs/CheckpointPolicy.js"

/**
 * What a run uses and what that costs: tokens are counted before they are sent, prices are data.
 *
 * @since 0.2.0
 */
export * as Cost from "./runs/Cost.js"

/**
 * Data as a pure function of seed and step. The order of every epoch is a permutation that is computed and not kept, so that a
 * run finds its place again at once, however far it had come.
 *
 * @since 0.2.0
 */
export * as Dataset from "./runs/Dataset.js"

/**
 * One writer at a time in a directory.
 *
 * @since 0.2.0
 */
export * as DirectoryLock from "./runs/DirectoryLock.js"

/**
 * What a run meant to do and what came of it: lines that are appended and on the disk before anything follows from them, each
 * with a number and a checksum.
 *
 * @since 0.2.0
 */
export * as Journal from "./runs/Journal.js"

/**
 * Where the figures of a run go beside its own files: a table, TensorBoard, trackio.
 *
 * A sink follows `metrics.jsonl` at its own pace. It never slows the training, and nothing is lost when it is slow or out of
 * reach: what it has not taken it takes the next time.
 *
 * @since 0.2.0
 */
export * as MetricSink from "./runs/MetricSink.js"

/**
 * Removing at the service what a run no longer needs.
 *
 * @since 0.2.0
 */
export * as Prune from "./runs/Prune.js"

/**
 * A run on one page: its curves, its time, its samples, its checkpoints, its cost. One HTML file that needs no network.
 *
 * @since 0.2.0
 */
export * as Report from "./runs/Report.js"

/**
 * Data that are sampled from the model itself, as reinforcement learning needs them. What was sampled is on the disk before it
 * is trained on, so that a run that is taken up again samples nothing twice and trains on the same.
 *
 * @since 0.2.0
 */
export * as Rollouts from "./runs/Rollouts.js"

/**
 * Runs that are exact: whatever dies, after `Run.open` every batch has contributed once to the weights that survive.
 *
 * @since 0.2.0
 */
export * as Run from "./runs/Run.js"

/**
 * The files of a run, as the official cookbook lays them out: what either of the two has written, the other can read.
 *
 * @since 0.2.0
 */
export * as RunDirectory from "./runs/RunDirectory.js"

/**
 * What can go wrong with a run, beside the errors of the clients.
 *
 * @since 0.2.0
 */
export * as RunError from "./runs/RunError.js"

/**
 * Learning rates as pure functions of the step: whoever comes back to a step finds the same rate.
 *
 * @since 0.2.0
 */
export * as Schedule from "./runs/Schedule.js"

/**
 * How much better an episode was than its group.
 *
 * @since 0.2.0
 */
export * as Advantage from "./recipes/Advantage.js"

/**
 * Learning from other models: from what they make of the student's own words, from their distributions, or from what they say
 * under a prompt that the student will not see.
 *
 * @since 0.2.0
 */
export * as Distillation from "./recipes/Distillation.js"

/**
 * What a model acts in: it observes tokens, says some, is rewarded, and observes again, until the episode is over.
 *
 * @since 0.2.0
 */
export * as Environment from "./recipes/Environment.js"

/**
 * Episodes of groups: sampled within limits, tried again by a strategy, siblings stopped when their group is lost.
 *
 * @since 0.2.0
 */
export * as Episode from "./recipes/Episode.js"

/**
 * Is it better? Examples answered and scored, two models on the same examples and seeds, and how sure one can be of the
 * difference.
 *
 * @since 0.2.0
 */
export * as Evaluation from "./recipes/Evaluation.js"

/**
 * Scripted experiments: every combination of settings under several seeds, some at one time, each found again if it is done.
 *
 * @since 0.2.0
 */
export * as Experiment from "./recipes/Experiment.js"

/**
 * Settings that are known to work: learning rates by model.
 *
 * @since 0.2.0
 */
export * as Hyperparameters from "./recipes/Hyperparameters.js"

/**
 * Preference learning: of two answers the better one becomes likelier, measured against frozen weights (DPO), and models that
 * judge which of two answers is better.
 *
 * @since 0.2.0
 */
export * as Preference from "./recipes/Preference.js"

/**
 * Reinforcement learning: groups of episodes are sampled, compared, and trained on by how much better each was than its group.
 *
 * @since 0.2.0
 */
export * as Reinforcement from "./recipes/Reinforcement.js"

/**
 * Supervised fine-tuning: examples with weights, held-out loss by the token and by the byte, a schedule, checkpoints.
 *
 * @since 0.2.0
 */
export * as Supervised from "./recipes/Supervised.js"

/**
 * The front door: everything that a program needs to train and sample, but for an HTTP client.
 *
 * @since 0.1.0
 */
export * as Tinkex from "./Tinkex.js"

/**
 * Settings of a client, from options or the environment: where the service is, who asks, how long, how many, how often.
 *
 * @since 0.1.0
 */
export * as TinkexConfig from "./TinkexConfig.js"

/**
 * Every error that users of the package meet, how they come from the wire, and what each means for retries.
 *
 * @since 0.1.0
 */
export * as TinkexError from "./TinkexError.js"
