"""Train the dictionaries that ship with the embedded model, on the embedded corpus, and write them
in half precision.

    python scripts/make_demo_dictionaries.py [--steps 1000] [--only mlp_out.0]

About five minutes each on two cores, and 2 GB of memory. An autoencoder of mlp_out.3, and
transcoders of the MLPs of layers 1 and 0 (where the trace of most facts peaks), each of 8 features
for each number, 32 on at a token.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import loci
from loci.dictionaries import DictionarySettings, train
from loci.dictionaries.formats.own import written
from loci.files import write_aside

FOLDER = Path(__file__).parents[1] / "src" / "loci" / "demo" / "dictionaries"
SETTINGS = (
    DictionarySettings("mlp_out.3", width=8, k=32),
    DictionarySettings("mlp_in.1", "mlp_out.1", width=8, k=32),
    DictionarySettings("mlp_in.0", "mlp_out.0", width=8, k=32),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", help="the dictionary of this point alone, as mlp_out.0")
    asked = parser.parse_args()
    model = loci.open("demo")
    FOLDER.mkdir(exist_ok=True)
    for settings in SETTINGS:
        if asked.only not in (None, settings.target or settings.point):
            continue
        [each] = train(model, [settings], steps=asked.steps, pool_bytes=2**31, report=say)
        tensors, metadata = written(each.dictionary)
        halves = {name: tensor.to(torch.float16).contiguous() for name, tensor in tensors.items()}
        target = each.settings.target or each.settings.point
        name = f"{'transcoder' if each.settings.target else 'autoencoder'}.{target}.safetensors"
        with write_aside(FOLDER / name) as aside:
            save_file(halves, aside, metadata=metadata)
        print(json.dumps({name: each.to_dict()}))


def say(at: object) -> None:
    if at.step % 100 == 0:
        print(at, flush=True)


if __name__ == "__main__":
    main()
