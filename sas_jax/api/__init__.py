"""The method in a notebook: the verbs that `import sas_jax` offers.

Each is a thin function over the library; `sas-jax <stage>` runs whole data sets, keeps
what it makes and goes on where it stopped. Teachers need PyTorch, in a process of its
own: `extract` and `measure_capability` start it and return what it left.

The examples share a few names: `scan` is the folder of a scan with labels, `student` a
file of `sas-jax export_student`, `folder` an empty folder, `a` and `b` are features of
the scan by two teachers.
"""

from sas_jax.api.answers import evaluate, predict, query
from sas_jax.api.asked import ask
from sas_jax.api.learning import cut_superpoints, fuse, train
from sas_jax.api.processes import (
    add_teacher,
    extract,
    make_rooms,
    measure_capability,
    run,
)
from sas_jax.api.sources import encode, load_student, open_scene
from sas_jax.artefacts.features import load_features
from sas_jax.view.shown import photographs, show

__all__ = [
    "add_teacher",
    "ask",
    "cut_superpoints",
    "encode",
    "evaluate",
    "extract",
    "fuse",
    "load_features",
    "load_student",
    "make_rooms",
    "measure_capability",
    "open_scene",
    "photographs",
    "predict",
    "query",
    "run",
    "show",
    "train",
]
