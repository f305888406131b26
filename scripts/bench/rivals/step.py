# The rival of the training step: the same model, weights and batch in PyTorch on one thread. Reads one JSON line with the
# model's shape and the path of a file of float32 weights and int32 tokens, answers `ready`, then does a step for each line
# it reads and answers with its milliseconds of processor time and its loss.
import json
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
spec = json.loads(sys.stdin.readline())
shape = spec["shape"]
d, layers, heads, kv_heads = shape["dModel"], shape["layers"], shape["heads"], shape["kvHeads"]
hd, vocab, eps = shape["headDim"], shape["vocabSize"], shape["normEps"]
batch, length, rank = spec["batch"], spec["length"], spec["rank"]

with open(spec["file"], "rb") as file:
    raw = file.read()
at = 0


def take(*dims):
    global at
    count = 1
    for n in dims:
        count *= n
    values = torch.frombuffer(bytearray(raw[at : at + count * 4]), dtype=torch.float32).reshape(*dims).clone()
    at += count * 4
    return values


def take_tokens(*dims):
    global at
    count = batch * length
    values = torch.frombuffer(bytearray(raw[at : at + count * 4]), dtype=torch.int32).reshape(*dims).long()
    at += count * 4
    return values


weights = {t["name"]: take(*t["shape"]) for t in spec["tensors"]}
adapters = {t["name"]: take(*t["shape"]).requires_grad_() for t in spec["adapters"]}
tokens, targets = take_tokens(batch, length), take_tokens(batch, length)

angle = torch.arange(length)[:, None] * shape["ropeTheta"] ** (-2 * torch.arange(hd // 2) / hd)[None, :]
cosine, sine = torch.cos(angle), torch.sin(angle)


def linear(x, name):
    w = weights[f"{name}.weight"]
    a = adapters.get(f"base_model.model.{name}.lora_A.weight")
    if a is None:
        return F.linear(x, w)
    b = adapters[f"base_model.model.{name}.lora_B.weight"]
    return F.linear(x, w) + F.linear(F.linear(x, a), b) * (32 / rank)


def rotate(x):
    a, b = x[..., : hd // 2], x[..., hd // 2 :]
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


def forward():
    x = F.embedding(tokens, weights["model.embed_tokens.weight"])
    for i in range(layers):
        at = f"model.layers.{i}"
        h = F.rms_norm(x, (d,), weights[f"{at}.input_layernorm.weight"], eps)

        def split(name, n):
            return linear(h, f"{at}.self_attn.{name}_proj").view(batch, length, n, hd).transpose(1, 2)

        q = rotate(F.rms_norm(split("q", heads), (hd,), weights[f"{at}.self_attn.q_norm.weight"], eps))
        k = rotate(F.rms_norm(split("k", kv_heads), (hd,), weights[f"{at}.self_attn.k_norm.weight"], eps))
        v = split("v", kv_heads)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
        x = x + linear(o.transpose(1, 2).reshape(batch, length, heads * hd), f"{at}.self_attn.o_proj")
        h = F.rms_norm(x, (d,), weights[f"{at}.post_attention_layernorm.weight"], eps)
        x = x + linear(F.silu(linear(h, f"{at}.mlp.gate_proj")) * linear(h, f"{at}.mlp.up_proj"), f"{at}.mlp.down_proj")
    logits = F.linear(F.rms_norm(x, (d,), weights["model.norm.weight"], eps), weights["lm_head.weight"])
    return F.cross_entropy(logits.view(-1, vocab), targets.view(-1), reduction="sum")


optimizer = torch.optim.AdamW(adapters.values(), lr=1e-3, betas=(0.9, 0.95), eps=1e-12, weight_decay=0.0)
print("ready", flush=True)
for _ in sys.stdin:
    start = time.process_time()
    loss = forward()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    value = loss.item()
    print((time.process_time() - start) * 1000, value, flush=True)
