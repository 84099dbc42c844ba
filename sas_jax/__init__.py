"""SAS in JAX: open-vocabulary 3-D scene understanding from several 2-D teachers.

    scene = sas_jax.open_scene("my/scan")
    student = sas_jax.load_student("rooms")  # or a run's folder, or a student's file
    sas_jax.ask(student, scene, "something to sit on")  # a picture, in a notebook
    labels = sas_jax.predict(student, scene, ["wall", "floor", "a red chair"])
    sas_jax.show(scene, labels, ["wall", "floor", "a red chair"])

The verbs (`sas_jax.__all__`, each with an example in its help) are loaded when they are
used (`sas_jax.api`): importing this package needs neither torch nor transformers, and
loads no JAX. The PyTorch half (`teachers`, `capability`) writes caches; the JAX half
(`sparse`, `models`, `distill`, `evaluation`) reads them. On the command line the same
is `sas-jax <stage>` (`sas_jax.stages`).
"""

import importlib

__version__ = "0.1.0"

_VERBS = (
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
)
__all__ = list(_VERBS)


def __getattr__(name: str) -> object:
    if name in _VERBS:
        return getattr(importlib.import_module("sas_jax.api"), name)
    raise AttributeError(f"module 'sas_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
