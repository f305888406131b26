"""What Python's tools make of the directory of a run.

    runs.py train DIRECTORY BASE_URL EPOCHS   the official cookbook trains on, from where the directory is
    runs.py read DIRECTORY                    the cookbook, TensorBoard, tbparse and trackio read it; prints JSON
"""

import asyncio
import json
import os
import sys
import tempfile

BATCHES = 4


def train(directory: str, base_url: str, epochs: int) -> None:
    import chz
    import tinker
    import torch
    from tinker_cookbook.supervised import train as sl
    from tinker_cookbook.supervised.types import SupervisedDataset, SupervisedDatasetBuilder

    os.environ.setdefault("TINKER_API_KEY", "tml-interop")

    def datum(i: int) -> tinker.Datum:
        tokens = [1 + i, 2, 3 + i, 4, 5]
        return tinker.Datum(
            model_input=tinker.ModelInput.from_ints(tokens[:-1]),
            loss_fn_inputs={
                "target_tokens": tinker.TensorData.from_torch(torch.tensor(tokens[1:], dtype=torch.int64)),
                "weights": tinker.TensorData.from_torch(torch.tensor([0.0, 1.0, 1.0, 1.0])),
            },
        )

    class Data(SupervisedDataset):
        def get_batch(self, index: int):
            return [datum(2 * index), datum(2 * index + 1)]

        def set_epoch(self, seed: int = 0):
            pass

        def __len__(self) -> int:
            return BATCHES

    @chz.chz
    class Builder(SupervisedDatasetBuilder):
        def __call__(self):
            return Data(), None

    asyncio.run(
        sl.main(
            sl.Config(
                log_path=directory,
                model_name="tinkex/nano-random",
                recipe_name="interop",
                dataset_builder=Builder(),
                learning_rate=1e-2,
                lr_schedule="constant",
                num_epochs=epochs,
                lora_rank=4,
                base_url=base_url,
                save_every=0,
                eval_every=0,
                infrequent_eval_every=0,
            )
        )
    )


def read(directory: str) -> None:
    os.environ["TRACKIO_DIR"] = tempfile.mkdtemp()
    import trackio
    from tbparse import SummaryReader
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tinker_cookbook.checkpoint_utils import get_last_checkpoint
    from tinker_cookbook.stores.storage import storage_from_uri
    from tinker_cookbook.stores.training_store import TrainingRunStore
    from trackio.sqlite_storage import SQLiteStorage

    store = TrainingRunStore(storage_from_uri(directory))
    last = get_last_checkpoint(directory)
    found = {
        "config": store.read_config(),
        "steps": [row["step"] for row in store.read_metrics()],
        "checkpoint": None if last is None else last.to_dict(),
    }
    board = os.path.join(directory, "tensorboard")
    if os.path.exists(board):
        events = EventAccumulator(board)
        events.Reload()
        found["tensorboard"] = [event.step for event in events.Scalars("train_mean_nll")]
        scalars = SummaryReader(board).scalars
        found["tbparse"] = [int(step) for step in scalars[scalars["tag"] == "train_mean_nll"]["step"]]
    table = os.path.join(directory, "metrics.csv")
    if os.path.exists(table):
        trackio.import_csv(table, project="interop", name="run")
        found["trackio"] = sorted(log["step"] for log in SQLiteStorage.get_logs("interop", "run"))
    print("@@" + json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        read(sys.argv[2])
