"""What the benchmarks of teachers share: models, images, one call and its time."""

import importlib.metadata
import importlib.util
import pathlib
import sys
import time

import cv2
import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from sas_jax.classes import vocabulary
from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions, function_of
from sas_jax.teachers import precision as half
from sas_jax.teachers import registry
from sas_jax.weights.cards import cards
from sas_jax.weights.find import find_file

IMAGE_HW = 240, 320
"""What stages hand out by default (`ExtractConfig`)."""

SHIPPED = ("rooms-dense", "rooms-mask", "imagenet")
HUB = (
    *("maskclip", "maskclip-b32", "siglip2", "tipsv2", "clipseg"),
    *("eomt", "oneformer", "grounded_sam2", "sam3"),
)
TRUE = [*SHIPPED, "lseg", "seem", "odise", *HUB]
VOCABULARY = vocabulary("scannet20").names
"""What teachers of any names are asked for: each name may cost a pass."""
_TINY = ("lseg", "imagenet", "seem", "odise")  # the others have one size, a small one
_PACKAGES = ("torch", "transformers", "diffusers")


def absence(name: str, size: str, precision: str, device: str = "cpu") -> str:
    """Return why a teacher cannot be timed here, empty where it can."""
    if size == "tiny" and name not in _TINY:
        return "it has one size"
    try:
        half.check_precision(precision, device)
        if name == "imagenet":
            find_file(name, cards()[name].files[0].name)
    except InputError as error:
        return str(error)
    needs = (need for need in registry.entry(name).needs if need != "webcolors")
    missing = [need for need in needs if importlib.util.find_spec(need) is None]
    return f"no {', '.join(missing)}" if missing else ""


def load(name: str, size: str, precision: str, device: str = "cpu"):
    """Return a teacher, ready to look."""
    if size == "tiny":
        import tiny_teachers

        made = tiny_teachers.TEACHERS[name]().to(device)
    else:
        weights = None if name in SHIPPED else "random:0"
        # Not `registry.load`: what captioners need may be absent.
        make = function_of(registry.entry(name).loader)
        made = make(LoadOptions(weights, device, vocabulary=VOCABULARY))
    return half.at_precision(made, precision, device)


def images(count: int) -> list[np.ndarray]:
    """Return random images, uint8 [240, 320, 3], with edges and plains as rooms have.

    Noise would have no object in it: grouping pixels is a part of a teacher's time.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    size_wh = IMAGE_HW[::-1]
    return [cv2.resize(c, size_wh, interpolation=cv2.INTER_NEAREST) for c in coarse]


def call(teacher, batch: list[np.ndarray]) -> list:
    """Return what a teacher says of images."""
    if teacher.spec.contract == "dense":
        return teacher.features(batch)
    if teacher.spec.contract == "heat":
        return teacher.heat(batch, VOCABULARY)
    return teacher.segment(batch)


def least(teacher, batch: int, seconds: float) -> dict[str, float]:
    """Return frames per second by the least of some calls' times, and their number.

    `cpu_ms` is the least processor time of a call, of all threads.
    """
    pictures, times, cpu = images(batch), [], []
    started = time.perf_counter()
    while not times or time.perf_counter() - started < seconds or len(times) == 1:
        began, cpu_began = time.perf_counter(), time.process_time()
        call(teacher, pictures)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
        if times[0] > 6 * seconds:
            break
    counted = times[1:] or times  # the first one tunes and allocates
    return {
        "frames_per_s": float(f"{batch / min(counted):.3g}"),
        "ms_least": round(1e3 * min(counted), 2),
        "ms_most": round(1e3 * max(counted), 2),
        "cpu_ms": round(1e3 * min(cpu[1:] or cpu), 2),
        "calls": len(counted),
    }


def case(name: str, size: str, precision: str, teacher, batch: int) -> dict:
    """Return what a row says beside its times."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "teacher": name,
        "contract": teacher.spec.contract,
        "size": size,
        "weights": teacher.spec.weights_id.partition(":")[0],
        "image_hw": list(IMAGE_HW),
        "precision": precision,
        "batch": batch,
        "versions": versions,
    }
