# ruff: noqa: E501  (lines of the page)
"""Write docs/teachers.md: the 2-D models, as their cards describe them.

  python docs/list_models.py

A test compares the page with the cards.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = pathlib.Path(__file__).with_name("teachers.md")
sys.path.insert(0, str(ROOT))

from sas_jax.weights.cards import Card, WeightsFile, cards  # noqa: E402

HEAD = """\
# The 2-D models

`python -m sas_jax.teachers` lists them with what is installed and which weights are on this machine.

**Weights** are never part of this package (but those of the procedural rooms). They are looked for, in this order: where
`--weights=<name>=<file or folder>` says, in `$SAS_JAX_WEIGHTS/<name>` and `$SAS_JAX_WEIGHTS`, in `~/.cache/sas_jax/weights/<name>`, in the
package of the Python index that a card names, in the cache of the Hugging Face hub. With `--download`, and only then, what is published on the
hub or under a plain address is fetched; LSeg, SEEM, TAP and ODISE are fetched by hand. Files keep the names that the sections below give them:

```sh
export SAS_JAX_WEIGHTS=$HOME/weights     # lseg/demo_e200.ckpt, seem/seem_focall_v0.pt, clip-vit-b32/config.json, ...
python -m sas_jax.teachers               # says "here" of each
python -m pytest tests/published --weights -rs   # each on two photographs (after `make test`, which installs pytest)
python experiments/query.py --scene=my/scan --teachers=lseg,seem --source=fused --strategy=add --text="a desk"
```

Without `--strategy=add` the last one first measures both teachers' capability, on 160 painted images: hours on a CPU; `--capability_from`
takes a table instead. A folder of the hub goes into `$SAS_JAX_WEIGHTS/<name>/` itself, with its `config.json` or `model_index.json`.

Files are read, never unpickled; a file that does not fill its network completely is refused, with the names of what is missing.
`--weights=<name>=random:0` runs a model without weights: the real network and its real size, with random numbers; for a smoke test of a whole
pipeline. `--diffusion_weights=random:0` and `--sam_weights=random:0` are the same for synthesizer and prompter. Several at once are
`--weights=lseg=random:0,seem=random:0`.

**Text spaces** never mix: fusion refuses teachers of two. The mask teachers' labels are encoded by the text tower of the space.

**What a model was trained on** matters: a teacher that has seen a benchmark's labels in 2-D is no zero-shot teacher for it. It stands
in each section.

## A teacher of your own

Any PyTorch model that says something of pixels. It lies in a file of yours, in a folder on `PYTHONPATH`; nothing of this package is edited:

```python
# my_teacher.py
import numpy as np
import torch

from sas_jax.classes import vocabulary
from sas_jax.teachers.contracts import TeacherSpec
from sas_jax.teachers.text import load_torch_minilm
from sas_jax.text.prompts import prompts


class MyTeacher:
    def __init__(self):
        self.net = ...  # 20 scores for each pixel, say
        self.tower = load_torch_minilm()
        self.texts = torch.tensor(
            self.tower.encode(prompts(vocabulary("scannet20").names))
        )
        space, weights = self.tower.space, "a hash of the weights"
        self.spec = TeacherSpec(
            "mine", "dense", space, space.dim, weights, {"scale": 255}
        )

    @torch.no_grad()
    def features(self, images):  # uint8 [H, W, 3] each -> float16 [h, w, C] each
        found = []
        for image in images:
            x = torch.tensor(image).permute(2, 0, 1)[None] / 255
            shares = self.net(x)[0].softmax(dim=0).permute(1, 2, 0)
            found.append((shares @ self.texts).half().numpy())
        return found

    def encode_text(self, texts):  # float32 [n, C], unit rows
        return self.tower.encode(texts)

    def to(self, device):
        return self

    def close(self): ...


def load(options):
    return MyTeacher().to(options.device)
```

```sh
export PYTHONPATH=$PWD SAS_JAX_TEACHERS=mine=dense:my_teacher:load
python -m sas_jax.teachers      # lists it
python experiments/query.py --flagfile=rooms.flags --scene=room0009_00 --source=fused \\
    --teachers=rooms-dense,rooms-mask,mine --text="something to sit on"
```

The question has its capability measured on the painted images, its features made and fused with the others'; `measure_capability.py` shows the table, and
`pipeline.py --teachers=rooms-dense,rooms-mask,mine` does all the rest. A model without names needs none: features in a text space are all that is asked for.
`spec` goes into the keys of files: what changes the features must stand in it. A mask teacher has `segment` in place of `features`, one that takes prompts `heat`
(`sas_jax/teachers/contracts.py`). What such a teacher raises or returns amiss is told in one line that names it. Step by step, with a network
that is trained on the way: [the notebook](../notebooks/own_teacher.ipynb); for what joins the package: [CONTRIBUTING.md](../CONTRIBUTING.md).
"""

TITLES = {
    "dense": "Dense teachers: a vector in a text space for every pixel",
    "mask": "Mask teachers: masks with labels",
    "heat": "Heat teachers: a map for every prompt",
    "captioner": "Captioners: a sentence for every mask",
    "text": "Text towers",
    "synthesizer": "Synthesizers: images of a class, with the attention of its words",
    "prompter": "Point prompters: the mask of what some points lie on",
}


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for kind, title in TITLES.items():
        own = [card for card in cards().values() if card.kind == kind]
        if own:
            parts += [f"## {title}\n", *map(section, own)]
    return "\n".join(parts)


def section(card: Card) -> str:
    """Return what the page says of a model."""
    facts = {
        "text space": f"`{card.text_space}`" if card.text_space else "",
        "paper": card.paper,
        "licence of the authors' code": card.code_licence,
        "trained on": card.trained_on,
        "memory and time": card.memory,
        "verified": card.verified,
    }
    lines = [f"### `{card.name}`: {card.title}\n", f"{card.summary}\n"]
    lines += [f"- **{what}**: {said}" for what, said in facts.items() if said]
    lines += [f"- **weights**: {weights(part)}" for part in card.files]
    if not card.files:
        lines.append("- **weights**: none of its own, or they come with the package")
    return "\n".join([*lines, *(f"\n{note}" for note in card.notes), ""])


def weights(part: WeightsFile) -> str:
    """Return what the page says of a file."""
    size = f", {part.size_gb:g} GB" if part.size_gb else ""
    place = part.url or f"https://huggingface.co/{part.hub}"
    optional = " (can be absent)" if part.optional else ""
    return f"`{part.title}`{size}, {part.licence}: {part.what}{optional}. <{place}>"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
