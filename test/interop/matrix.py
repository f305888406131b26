"""Tries every public method of the official SDK's clients against a server, and its command line.

    python matrix.py OUT.json          (TINKER_BASE_URL and TINKER_API_KEY say which server)

The methods are enumerated by reflection; one that no probe covers makes the run fail, so that a new SDK cannot grow
past the matrix unseen. Each row says `works`, `refuses` (the server declines clearly, as the probe expects) or
`not applicable` (it makes no sense without the hosted service, with the reason).
"""

import asyncio
import inspect
import json
import math
import os
import subprocess
import sys
import time
import traceback
from datetime import datetime, timedelta, timezone

import numpy
import tinker
from tinker import types
from tinker.lib.public_interfaces.rest_client import RestClient

TIMEOUT = 60
BASE_MODEL = os.environ.get("TINKEX_INTEROP_MODEL", "tinkex/nano-random")
CLASSES = [tinker.ServiceClient, tinker.TrainingClient, tinker.SamplingClient, RestClient]


class NotApplicable(Exception):
    pass


class Refused(Exception):
    """The server declined, as expected, with a message that a user can act on."""


def datum(tokens, weights=None):
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": tokens[1:],
            "weights": weights if weights is not None else [1.0] * (len(tokens) - 1),
        },
    )


TOKENS = [10, 20, 30, 40, 50, 60]
PROMPT = types.ModelInput.from_ints([10, 20, 30])
ADAM = types.AdamParams(learning_rate=1e-3)


class Sync:
    """Calls a method and waits for its result the blocking way."""

    suffix = ""

    def __call__(self, obj, name, *args, **kwargs):
        value = getattr(obj, name)(*args, **kwargs)
        return value.result(timeout=TIMEOUT) if hasattr(value, "result") else value


class Async:
    """Calls a method's `_async` twin on an event loop, awaiting until a plain value is there."""

    suffix = "_async"

    def __call__(self, obj, name, *args, **kwargs):
        async def run():
            value = getattr(obj, name + "_async")(*args, **kwargs)
            while inspect.isawaitable(value):
                value = await value
            return value

        return asyncio.run(asyncio.wait_for(run(), TIMEOUT))


class Context:
    """What the probes share: one service, one trained run, one saved state, one sampler."""

    def __init__(self):
        self.call = Sync()
        self.service = tinker.ServiceClient(user_metadata={"suite": "interop"})
        self.rest = self.service.create_rest_client()
        self.training = self.service.create_lora_training_client(BASE_MODEL, rank=4).result()
        self.training.forward_backward([datum(TOKENS)], "cross_entropy").result(TIMEOUT)
        self.training.optim_step(ADAM).result(TIMEOUT)
        self.state = self.training.save_state("base").result(TIMEOUT).path
        self.weights = self.training.save_weights_for_sampler("sampler").result(TIMEOUT).path
        self.sampler = self.service.create_sampling_client(model_path=self.weights).result()
        self.names = 0

    def name(self):
        self.names += 1
        return f"probe-{self.names}"

    @property
    def run_id(self):
        return self.state.split("/")[2]

    def session_id(self):
        return self.rest.list_sessions().result(TIMEOUT).sessions[0]

    def throwaway(self):
        return self.training.save_state(self.name()).result(TIMEOUT).path


PROBES = {}


def probe(*names):
    def register(function):
        for name in names:
            PROBES[name] = function
        return function

    return register


def refused(run, *words):
    """Runs what the server should decline; the error must be an answer of the server and name what it declined."""
    try:
        run()
    except tinker.APIStatusError as error:
        text = str(error)
        assert 400 <= error.status_code < 500 or error.status_code == 501, text
        assert any(word in text for word in words), text
        raise Refused(text[:200]) from None
    except tinker.RequestFailedError as error:
        raise Refused(str(error)[:200]) from None
    raise AssertionError("the server accepted what it does not support")


# --- ServiceClient


@probe("ServiceClient.get_server_capabilities", "RestClient.get_server_capabilities")
def _(ctx):
    target = ctx.service if isinstance(ctx.owner, type) and ctx.owner is tinker.ServiceClient else ctx.rest
    models = [m.model_name for m in ctx.call(target, "get_server_capabilities").supported_models]
    assert BASE_MODEL in models, models


@probe("ServiceClient.create_lora_training_client")
def _(ctx):
    client = ctx.call(ctx.service, "create_lora_training_client", BASE_MODEL, rank=2, seed=3, train_mlp=False)
    assert client.forward([datum(TOKENS)], "cross_entropy").result(TIMEOUT).loss_fn_outputs
    info = client.get_info()
    assert (info.result(TIMEOUT) if hasattr(info, "result") else info).lora_rank == 2


@probe("ServiceClient.create_training_client_from_state")
def _(ctx):
    client = ctx.call(ctx.service, "create_training_client_from_state", ctx.state)
    client.forward([datum(TOKENS)], "cross_entropy").result(TIMEOUT)


@probe("ServiceClient.create_training_client_from_state_with_optimizer")
def _(ctx):
    client = ctx.call(ctx.service, "create_training_client_from_state_with_optimizer", ctx.state)
    before = ctx.training.forward([datum(TOKENS)], "cross_entropy").result(TIMEOUT)
    after = client.forward([datum(TOKENS)], "cross_entropy").result(TIMEOUT)
    assert len(before.loss_fn_outputs) == len(after.loss_fn_outputs) == 1


@probe("ServiceClient.create_sampling_client")
def _(ctx):
    client = ctx.call(ctx.service, "create_sampling_client", base_model=BASE_MODEL)
    assert client.sample(PROMPT, 1, types.SamplingParams(max_tokens=2)).result(TIMEOUT).sequences


@probe("ServiceClient.create_rest_client")
def _(ctx):
    assert isinstance(ctx.service.create_rest_client(), RestClient)


@probe("ServiceClient.copy_weights")
def _(ctx):
    os.environ["TINKER_PROJECT_ID"] = "project-1"
    try:
        copied = tinker.ServiceClient().copy_weights(ctx.state).result(TIMEOUT)
    finally:
        del os.environ["TINKER_PROJECT_ID"]
    assert copied.startswith("tinker://") and copied != ctx.state, copied


@probe("ServiceClient.create_custom_loss")
def _(ctx):
    raise NotApplicable("records a graph with torch.fx; torch is an optional extra of the SDK")


@probe("ServiceClient.close")
def _(ctx):
    service = tinker.ServiceClient()
    service.create_lora_training_client(BASE_MODEL, rank=2).result()
    ctx.call(service, "close", "success", detail="done")


@probe("ServiceClient.get_console_url", "TrainingClient.get_console_url")
def _(ctx):
    target = ctx.service if ctx.owner is tinker.ServiceClient else ctx.training
    assert ctx.call(target, "get_console_url").startswith("https://")


@probe(
    "ServiceClient.get_telemetry",
    "TrainingClient.get_telemetry",
    "SamplingClient.get_telemetry",
    "RestClient.get_telemetry",
)
def _(ctx):
    target = {
        "ServiceClient": ctx.service,
        "TrainingClient": ctx.training,
        "SamplingClient": ctx.sampler,
        "RestClient": ctx.rest,
    }[ctx.owner.__name__]
    target.get_telemetry()


@probe("ServiceClient.holder")
def _(ctx):
    assert ctx.service.holder is not None


# --- TrainingClient


@probe("TrainingClient.forward")
def _(ctx):
    out = ctx.call(ctx.training, "forward", [datum(TOKENS)], "cross_entropy")
    assert len(out.loss_fn_outputs) == 1 and math.isfinite(out.metrics["loss:sum"])
    assert len(out.loss_fn_outputs[0]["logprobs"].data) == len(TOKENS) - 1


@probe("TrainingClient.forward_backward")
def _(ctx):
    one = ctx.call(ctx.training, "forward_backward", [datum(TOKENS)], "cross_entropy")
    two = ctx.call(ctx.training, "forward_backward", [datum(TOKENS), datum(TOKENS)], "cross_entropy")
    assert math.isclose(two.metrics["loss:sum"], 2 * one.metrics["loss:sum"], rel_tol=1e-5)
    ones = types.Datum(
        model_input=types.ModelInput.from_ints(TOKENS[:-1]),
        loss_fn_inputs={
            "target_tokens": TOKENS[1:],
            "logprobs": [-6.0] * (len(TOKENS) - 1),
            "advantages": [1.0] * (len(TOKENS) - 1),
        },
    )
    for loss in ["importance_sampling", "ppo", "cispo", "dro"]:
        assert math.isfinite(ctx.call(ctx.training, "forward_backward", [ones], loss).metrics["loss:sum"]), loss


@probe("TrainingClient.forward_backward_custom")
def _(ctx):
    try:
        import torch
    except ImportError:
        raise NotApplicable("needs torch, an optional extra of the SDK") from None

    def loss(data, logprobs):
        return torch.stack([(lp * lp).sum() for lp in logprobs]).sum(), {"custom": 1.0}

    out = ctx.call(ctx.training, "forward_backward_custom", [datum(TOKENS)], loss)
    assert out.metrics["custom"] == 1.0


@probe("TrainingClient.optim_step")
def _(ctx):
    metrics = ctx.call(ctx.training, "optim_step", ADAM).metrics
    assert metrics is None or all(math.isfinite(v) for v in metrics.values())


@probe("TrainingClient.save_state")
def _(ctx):
    name = ctx.name()
    path = ctx.call(ctx.training, "save_state", name, ttl_seconds=3600, user_metadata={"k": "v"}).path
    assert path == f"tinker://{ctx.run_id}/weights/{name}", path
    assert ctx.call(ctx.training, "save_state", name, overwrite=True).path == path


@probe("TrainingClient.load_state")
def _(ctx):
    client = ctx.service.create_lora_training_client(BASE_MODEL, rank=4).result()
    ctx.call(client, "load_state", ctx.state)


@probe("TrainingClient.load_state_with_optimizer")
def _(ctx):
    client = ctx.service.create_lora_training_client(BASE_MODEL, rank=4).result()
    ctx.call(client, "load_state_with_optimizer", ctx.state)


@probe("TrainingClient.save_weights_for_sampler")
def _(ctx):
    name = ctx.name()
    path = ctx.call(ctx.training, "save_weights_for_sampler", name).path
    assert path == f"tinker://{ctx.run_id}/sampler_weights/{name}", path


@probe("TrainingClient.save_weights_and_get_sampling_client")
def _(ctx):
    client = ctx.call(ctx.training, "save_weights_and_get_sampling_client")
    assert client.sample(PROMPT, 1, types.SamplingParams(max_tokens=2)).result(TIMEOUT).sequences


@probe("TrainingClient.save_weights_external")
def _(ctx):
    name = ctx.name()
    path = ctx.call(ctx.training, "save_weights_external", name).path
    assert path == f"tinker://{ctx.run_id}/external_weights/{name}", path


@probe("TrainingClient.create_sampling_client")
def _(ctx):
    client = ctx.call(ctx.training, "create_sampling_client", ctx.weights)
    assert client.sample(PROMPT, 1, types.SamplingParams(max_tokens=2)).result(TIMEOUT).sequences


@probe("TrainingClient.get_info")
def _(ctx):
    info = ctx.call(ctx.training, "get_info")
    assert info.is_lora and info.lora_rank == 4 and info.model_data.model_name == BASE_MODEL


@probe("TrainingClient.get_tokenizer")
def _(ctx):
    tokenizer = ctx.training.get_tokenizer()
    assert tokenizer.decode(tokenizer.encode("2 + 2 = 4")) == "2 + 2 = 4"


# --- SamplingClient


@probe("SamplingClient.sample")
def _(ctx):
    params = types.SamplingParams(max_tokens=4, seed=7, temperature=0.7, top_k=50, top_p=0.9, stop=[0])
    first = ctx.call(
        ctx.sampler,
        "sample",
        PROMPT,
        3,
        params,
        include_prompt_logprobs=True,
        topk_prompt_logprobs=2,
        topk_sample_logprobs=2,
    )
    again = ctx.call(ctx.sampler, "sample", PROMPT, 3, params)
    assert len(first.sequences) == 3
    for a, b in zip(first.sequences, again.sequences):
        assert list(a.tokens) == list(b.tokens) and len(a.tokens) == len(a.logprobs)
    assert len(first.prompt_logprobs) == 3 and first.prompt_logprobs[0] is None
    assert first.topk_prompt_logprobs[0] is None and len(first.topk_prompt_logprobs[1]) == 2
    for stop in ["x", ["x", "y"], []]:
        ctx.call(ctx.sampler, "sample", PROMPT, 1, types.SamplingParams(max_tokens=2, stop=stop))


@probe("SamplingClient.compute_logprobs")
def _(ctx):
    values = ctx.call(ctx.sampler, "compute_logprobs", PROMPT)
    assert len(values) == 3 and values[0] is None and all(v <= 0 for v in values[1:])


@probe("SamplingClient.create")
def _(ctx):
    client = tinker.SamplingClient.create(ctx.service.holder, base_model=BASE_MODEL).result(TIMEOUT)
    assert client.sample(PROMPT, 1, types.SamplingParams(max_tokens=1)).result(TIMEOUT).sequences


@probe("SamplingClient.get_sampler_handle", "SamplingClient.from_sampler_handle")
def _(ctx):
    clone = tinker.SamplingClient.from_sampler_handle(ctx.sampler.get_sampler_handle())
    assert clone.sample(PROMPT, 1, types.SamplingParams(max_tokens=1)).result(TIMEOUT).sequences


@probe("SamplingClient.get_base_model")
def _(ctx):
    assert ctx.call(ctx.sampler, "get_base_model") == BASE_MODEL


@probe("SamplingClient.get_tokenizer")
def _(ctx):
    tokenizer = ctx.sampler.get_tokenizer()
    assert tokenizer.decode(tokenizer.encode("2 + 2 = 4")) == "2 + 2 = 4"


@probe("SamplingClient.on_queue_state_change")
def _(ctx):
    raise NotApplicable("a callback that the SDK calls itself")


# --- RestClient


@probe("RestClient.assign_session_project")
def _(ctx):
    ctx.call(ctx.rest, "assign_session_project", ctx.session_id(), "project-1")


@probe("RestClient.copy_weights")
def _(ctx):
    copied = ctx.call(ctx.rest, "copy_weights", ctx.state, "project-1")
    assert copied.startswith("tinker://") and copied != ctx.state, copied


@probe("RestClient.delete_checkpoint")
def _(ctx):
    path = ctx.throwaway()
    ctx.call(ctx.rest, "delete_checkpoint", ctx.run_id, "/".join(path.split("/")[3:]))
    assert path not in [c.tinker_path for c in ctx.rest.list_checkpoints(ctx.run_id).result(TIMEOUT).checkpoints]


@probe("RestClient.delete_checkpoint_from_tinker_path")
def _(ctx):
    path = ctx.throwaway()
    ctx.call(ctx.rest, "delete_checkpoint_from_tinker_path", path)
    assert path not in [c.tinker_path for c in ctx.rest.list_checkpoints(ctx.run_id).result(TIMEOUT).checkpoints]


@probe("RestClient.export_session_trace")
def _(ctx):
    try:
        url = ctx.call(ctx.rest, "export_session_trace", ctx.session_id())
        assert url.startswith("http")
    except (tinker.APIStatusError, RuntimeError) as error:
        assert "trace" in str(error), str(error)
        raise Refused(str(error)[:200]) from None


@probe("RestClient.get_audit_log")
def _(ctx):
    assert isinstance(ctx.call(ctx.rest, "get_audit_log").entries, list)


@probe("RestClient.get_billing_usage")
def _(ctx):
    now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
    assert ctx.call(ctx.rest, "get_billing_usage", now - timedelta(hours=2), now).data == []


@probe("RestClient.get_current_checkpoint_storage_usage")
def _(ctx):
    ctx.call(ctx.rest, "get_current_checkpoint_storage_usage")


@probe("RestClient.get_external_weights_urls")
def _(ctx):
    path = ctx.training.save_weights_external(ctx.name()).result(TIMEOUT).path
    assert len(ctx.call(ctx.rest, "get_external_weights_urls", path).urls) > 0


@probe("RestClient.get_sampler")
def _(ctx):
    samplers = ctx.rest.get_session(ctx.run_id.split(":")[0]).result(TIMEOUT).sampler_ids
    found = ctx.call(ctx.rest, "get_sampler", samplers[0])
    assert found.sampler_id == samplers[0] and found.base_model == BASE_MODEL


@probe("RestClient.get_session")
def _(ctx):
    assert ctx.run_id in ctx.call(ctx.rest, "get_session", ctx.run_id.split(":")[0]).training_run_ids


@probe("RestClient.get_training_run")
def _(ctx):
    run = ctx.call(ctx.rest, "get_training_run", ctx.run_id)
    assert run.training_run_id == ctx.run_id and run.base_model == BASE_MODEL and run.lora_rank == 4


@probe("RestClient.get_training_run_by_tinker_path")
def _(ctx):
    assert ctx.call(ctx.rest, "get_training_run_by_tinker_path", ctx.state).training_run_id == ctx.run_id


@probe("RestClient.get_weights_info_by_tinker_path")
def _(ctx):
    info = ctx.call(ctx.rest, "get_weights_info_by_tinker_path", ctx.state)
    assert info.base_model == BASE_MODEL and info.is_lora and info.lora_rank == 4


@probe("RestClient.list_checkpoints")
def _(ctx):
    paths = [c.tinker_path for c in ctx.call(ctx.rest, "list_checkpoints", ctx.run_id).checkpoints]
    assert ctx.state in paths and ctx.weights in paths, paths


@probe("RestClient.list_sessions")
def _(ctx):
    assert ctx.call(ctx.rest, "list_sessions", limit=5).sessions


@probe("RestClient.list_training_runs")
def _(ctx):
    page = ctx.call(ctx.rest, "list_training_runs", limit=1)
    assert len(page.training_runs) == 1 and page.cursor.total_count >= 1


@probe("RestClient.list_user_checkpoints")
def _(ctx):
    assert ctx.state in [c.tinker_path for c in ctx.call(ctx.rest, "list_user_checkpoints").checkpoints]


@probe("RestClient.publish_checkpoint_from_tinker_path", "RestClient.unpublish_checkpoint_from_tinker_path")
def _(ctx):
    path = ctx.throwaway()

    def public():
        return {c.tinker_path: c.public for c in ctx.rest.list_checkpoints(ctx.run_id).result(TIMEOUT).checkpoints}[path]

    ctx.call(ctx.rest, "publish_checkpoint_from_tinker_path", path)
    assert public()
    ctx.call(ctx.rest, "unpublish_checkpoint_from_tinker_path", path)
    assert not public()


@probe("RestClient.search_sessions")
def _(ctx):
    found = ctx.call(ctx.rest, "search_sessions", types.SessionSearchRequest(limit=10))
    assert len(found.sessions) >= 1


@probe("RestClient.set_checkpoint_ttl_from_tinker_path")
def _(ctx):
    path = ctx.throwaway()

    def expires():
        return {c.tinker_path: c.expires_at for c in ctx.rest.list_checkpoints(ctx.run_id).result(TIMEOUT).checkpoints}[
            path
        ]

    ctx.call(ctx.rest, "set_checkpoint_ttl_from_tinker_path", path, 3600)
    assert expires() is not None
    ctx.call(ctx.rest, "set_checkpoint_ttl_from_tinker_path", path, None)
    assert expires() is None


@probe("RestClient.whoami")
def _(ctx):
    raise NotApplicable("reads the claims of a hosted account's token; makes no request")


# The probes that try a set of methods together name them all; the others are known by reflection.
def methods(cls):
    for name in sorted(vars(cls)):
        if not name.startswith("_"):
            yield name


def attempt(ctx, cls, name):
    is_async = name.endswith("_async") and name[: -len("_async")] in vars(cls)
    key = f"{cls.__name__}.{name[: -len('_async')] if is_async else name}"
    found = PROBES.get(key)
    if found is None:
        return "untested", "no probe"
    ctx.owner = cls
    ctx.call = Async() if is_async else Sync()
    try:
        found(ctx)
        return "works", ""
    except NotApplicable as reason:
        return "not applicable", str(reason)
    except Refused as reason:
        return "refuses", str(reason)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        return "fails", f"{type(error).__name__}: {str(error)[:300]}"


def command_line(ctx):
    """The official command line; each row is a command, its arguments and what it must print."""
    tool = os.path.join(os.path.dirname(sys.executable), "tinker")
    path = ctx.throwaway()
    doomed = ctx.throwaway()
    here = os.path.join(os.getcwd(), "downloads")
    rows = [
        (["version"], "tinker"),
        (["model", "list"], BASE_MODEL),
        (["run", "list"], ctx.run_id),
        (["run", "info", ctx.run_id], BASE_MODEL),
        (["checkpoint", "list"], "tinker://"),
        (["checkpoint", "list", "--run-id", ctx.run_id], "weights/base"),
        (["checkpoint", "info", path], path),
        (["checkpoint", "publish", path], ""),
        (["checkpoint", "unpublish", path], ""),
        (["checkpoint", "set-ttl", path, "--ttl", "3600"], ""),
        (["checkpoint", "set-ttl", path, "--remove"], ""),
        (["checkpoint", "download", path, "--output", here], "destination"),
        (["checkpoint", "delete", doomed, "--yes"], "deleted_count"),
        (["billing", "usage", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"], "data"),
        (["billing", "checkpoint-storage"], ""),
        (["session", "export-trace", ctx.session_id(), "--url-only"], None),
        (["auth", "status"], None),
        (["auth", "whoami"], None),
        (["auth", "login"], None),
        (["auth", "logout"], None),
        (["checkpoint", "push-hf", path], None),
    ]
    hosted = {
        "auth": "an account of the hosted service",
        "push-hf": "the Hugging Face Hub",
        "export-trace": "the hosted service's trace store",
    }
    for args, expected in rows:
        name = "tinker " + " ".join(a for a in args[:2])
        if expected is None:
            yield name, "not applicable", "needs " + next(why for word, why in hosted.items() if word in args)
            continue
        done = subprocess.run([tool, "--format", "json", *args], capture_output=True, text=True, timeout=TIMEOUT)
        ok = done.returncode == 0 and expected in done.stdout
        yield name, "works" if ok else "fails", "" if ok else (done.stdout + done.stderr)[-300:]


def main():
    started = time.monotonic()
    ctx = Context()
    rows = []
    for cls in CLASSES:
        for name in methods(cls):
            status, note = attempt(ctx, cls, name)
            rows.append({"group": cls.__name__, "name": name, "status": status, "note": note})
            print(f"{status:15} {cls.__name__}.{name} {note}", flush=True)
    for name, status, note in command_line(ctx):
        rows.append({"group": "command line", "name": name, "status": status, "note": note})
        print(f"{status:15} {name} {note}", flush=True)
    with open(sys.argv[1], "w") as file:
        json.dump({"sdk": tinker.__version__, "rows": rows}, file, indent=1)
    print(f"{len(rows)} rows in {time.monotonic() - started:.1f} s; numpy {numpy.__version__}", flush=True)
    # The SDK's background threads would otherwise keep the process for its telemetry's drain.
    os._exit(0)


main()
