"""Half precision: near f32, named in the spec, and never in the vectors of texts."""

import numpy as np
import pytest
from tiny_teachers import TEACHERS, said, seem
from torch import float16

from sas_jax.errors import InputError, WeightsMissing
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.extract import extraction_key
from sas_jax.registry import LoadOptions
from sas_jax.teachers import precision, registry
from sas_jax.teachers.precision import at_precision

SIZES = [(48, 64), (40, 61), (48, 64), (33, 20)]
TEXTS = ["a chair", "a wooden table"]
# A rounding of bf16 is 2^-9, of f16 2^-12; networks have up to a hundred of them.
FAR = {"bf16": 0.1, "f16": 0.02}


def images():
    rng = np.random.default_rng(4)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture
def make(request):
    if request.param == "odise":
        pytest.importorskip("diffusers")

    def made():
        try:
            return TEACHERS[request.param]()
        except WeightsMissing as absent:
            pytest.skip(str(absent))

    return made


@pytest.mark.parametrize("make", TEACHERS, indirect=True)
def test_an_image_has_the_same_bytes_in_any_batch(make):
    teacher, pictures = make(), images()
    alone = [said(teacher, [picture])[0] for picture in pictures]
    for batch in (pictures, pictures[::-1], pictures[1:3]):
        places = [next(i for i, p in enumerate(pictures) if p is one) for one in batch]
        for i, found in zip(places, said(teacher, batch), strict=True):
            assert found.tobytes() == alone[i].tobytes()
    assert alone[0].tobytes() != alone[2].tobytes()


@pytest.mark.parametrize("kind", ["bf16", "f16"])
@pytest.mark.parametrize("make", TEACHERS, indirect=True)
def test_half_precision_is_near_and_has_a_key_of_its_own(make, kind):
    exact, half = make(), at_precision(make(), kind, "cpu")
    assert half.spec.preprocess == {**exact.spec.preprocess, "precision": kind}
    keys = [extraction_key("scene", one, ExtractConfig()) for one in (exact, half)]
    assert keys[0] != keys[1]
    pairs = zip(said(exact, images()), said(half, images()), strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype and one.shape == other.shape
        if exact.spec.contract == "dense":
            far = np.linalg.norm((one - other).astype(np.float32))
            assert 0 < far < FAR[kind] * np.linalg.norm(one.astype(np.float32))
    assert half.encode_text(TEXTS).tobytes() == exact.encode_text(TEXTS).tobytes()


def test_what_is_kept_of_texts_does_not_know_the_precision():
    exact, half = seem(), at_precision(seem(), "bf16", "cpu")
    said(exact, images()[:1])
    said(half, images()[:1])
    known = exact._names._known
    assert known and known.keys() == half._names._known.keys()
    for name, vector in known.items():
        assert half._names._known[name].tobytes() == vector.tobytes()


def test_f32_changes_nothing():
    teacher = seem()
    spec = teacher.spec
    assert at_precision(teacher, "f32", "cpu").spec is spec
    assert "segment" not in vars(teacher)


def test_the_registry_passes_it_on(monkeypatch):
    monkeypatch.setattr(precision, "_is_native", lambda *_: True)
    teacher = registry.load("rooms-dense", LoadOptions("random:0", precision="f16"))
    assert teacher.spec.preprocess["precision"] == "f16"
    assert precision._TYPES["f16"] == float16


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("openseg", "openseg computes in f32, got bf16"),
        ("none", "none computes in f32, got bf16"),
        ("rooms-dense", "computes in bf16 is required, got cpu"),
    ],
)
def test_who_has_no_half_precision_says_so(monkeypatch, name, told):
    monkeypatch.setattr(precision, "_is_native", lambda *_: False)
    weights = "random:0" if name != "none" else None
    with pytest.raises(InputError, match=told):
        registry.check(name, LoadOptions(weights, precision="bf16"))
