"""The program of program.ts through the official SDK; TINKER_BASE_URL and TINKER_API_KEY say which server."""

import sys
import time

import tinker
from tinker import types

WAIT = 60


def datum(tokens):
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": types.TensorData(data=tokens[1:], dtype="int64", shape=[len(tokens) - 1]),
            "weights": types.TensorData(data=[0.5] * (len(tokens) - 1), dtype="float32", shape=[len(tokens) - 1]),
        },
    )


service = tinker.ServiceClient(user_metadata={"suite": "parity"})
capabilities = service.get_server_capabilities()
training = service.create_lora_training_client(
    "tinkex/nano", rank=8, seed=1, user_metadata={"run": "parity"}
).result(WAIT)
data = [datum([10, 20, 30, 40]), datum([50, 60, 70])]
gradients = training.forward_backward(data, "cross_entropy")
update = training.optim_step(types.AdamParams(learning_rate=1e-3))
gradients.result(WAIT)
update.result(WAIT)
training.forward(data, "cross_entropy").result(WAIT)
state = training.save_state("state").result(WAIT).path
weights = training.save_weights_for_sampler("sampler", ttl_seconds=3600).result(WAIT).path
snapshot = training.save_weights_and_get_sampling_client()
prompt = types.ModelInput.from_ints([10, 20, 30, 40, 50])
snapshot.sample(
    prompt=prompt,
    num_samples=2,
    sampling_params=types.SamplingParams(max_tokens=4, temperature=0.5, top_k=20, top_p=0.9, seed=3, stop=[1]),
    include_prompt_logprobs=True,
    topk_prompt_logprobs=2,
).result(WAIT)
sampler = service.create_sampling_client(model_path=weights).result(WAIT)
sampler.compute_logprobs(prompt).result(WAIT)
base = service.create_sampling_client(base_model="tinkex/nano").result(WAIT)
base.sample(prompt=prompt, num_samples=1, sampling_params=types.SamplingParams(max_tokens=3)).result(WAIT)
training.load_state(state).result(WAIT)
training.load_state_with_optimizer(state).result(WAIT)
training.get_info()
other = service.create_training_client_from_state(state).result(WAIT)
other.optim_step(types.AdamParams(learning_rate=1e-3, grad_clip_norm=1.0)).result(WAIT)

rest = service.create_rest_client()
run = state.split("/")[2]
rest.get_training_run(run).result(WAIT)
rest.list_checkpoints(run).result(WAIT)
rest.get_weights_info_by_tinker_path(state).result(WAIT)
rest.publish_checkpoint_from_tinker_path(weights).result(WAIT)
rest.unpublish_checkpoint_from_tinker_path(weights).result(WAIT)
rest.set_checkpoint_ttl_from_tinker_path(weights, 7200).result(WAIT)
rest.list_user_checkpoints().result(WAIT)
rest.delete_checkpoint_from_tinker_path(weights).result(WAIT)
# an error of the user, reported on the way
try:
    rest.get_training_run("nobody").result(WAIT)
    sys.exit("a run that does not exist was found")
except tinker.NotFoundError:
    pass
time.sleep(11)  # a heartbeat, and what is reported
service.close("success").result(WAIT)
