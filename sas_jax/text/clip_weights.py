"""Weights of CLIP's text towers: one set of names for all files that hold them.

The names are OpenAI's own; LSeg's checkpoint and open_clip use them too, with a prefix.
Files of transformers are converted. L layers, D width, C length of a text feature.
"""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from sas_jax.errors import InputError
from sas_jax.text.tower_names import (
    ANCHOR,
    LAYER,
    Names,
    State,
    layout,
    names_in_transformers,
)

Tower = dict[str, np.ndarray]
"""Name -> f32 array of all tensors of a text tower, under OpenAI's names."""

_HEAD_WIDTH = 64


@dataclasses.dataclass(frozen=True)
class Size:
    """What a text tower is built of.

    Attributes:
      dim: C.
      width: D.
      layers: L.
      heads: of attention; CLIP's are 64 wide.
      vocabulary: number of tokens.
      length: positions of a text.
      wide: D inside the two-layer perceptrons; 0 is four times D.
    """

    dim: int
    width: int
    layers: int
    heads: int
    vocabulary: int = 49408
    length: int = 77
    wide: int = 0


SIZES = {
    "clip-vit-b32": Size(dim=512, width=512, layers=12, heads=8),
    "clip-vit-b16": Size(dim=512, width=512, layers=12, heads=8),
    "clip-vit-l14-336": Size(dim=768, width=768, layers=12, heads=12),
}
"""Text space -> size of its tower."""


def shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of all tensors of a tower."""
    width, wide = size.width, size.wide or 4 * size.width
    norm = {"weight": (width,), "bias": (width,)}
    parts = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        **{f"ln_1.{leaf}": shape for leaf, shape in norm.items()},
        "mlp.c_fc.weight": (wide, width),
        "mlp.c_fc.bias": (wide,),
        "mlp.c_proj.weight": (width, wide),
        "mlp.c_proj.bias": (width,),
        **{f"ln_2.{leaf}": shape for leaf, shape in norm.items()},
    }
    layers = range(size.layers)
    return {
        "positional_embedding": (size.length, width),
        "text_projection": (width, size.dim),
        "token_embedding.weight": (size.vocabulary, width),
        **{f"ln_final.{leaf}": shape for leaf, shape in norm.items()},
        **{LAYER.format(i) + n: shape for i in layers for n, shape in parts.items()},
    }


def text_tower(state: State, where: object, size: Size | None = None) -> Tower:
    """Return the text tower in a checkpoint under OpenAI's names.

    Args:
      state: of a whole CLIP or more, of OpenAI, open_clip, LSeg or transformers; what
        else is in it is left out.
      where: names the file in errors.
      size: that it must have; None takes what the tensors say.

    Returns:
      Name -> f32 array, exactly those of `shapes`.

    Raises:
      InputError: naming tensors that are missing or of another shape.
    """
    file = Names(*layout(state, where))
    wanted = shapes(size or _size(state, file, where))
    return filled(state, file, wanted, where, what="clip text")


def filled(
    state: State,
    file: Names,
    wanted: Mapping[str, tuple[int, ...]],
    where: object,
    *,
    what: str,
) -> Tower:
    """Return tensors of a checkpoint under OpenAI's names, f32, complete.

    Args:
      state: of the checkpoint.
      file: how it names them.
      wanted: OpenAI's name -> shape.
      where: names the file in errors.
      what: names the model in errors.

    Raises:
      InputError: as `text_tower`.
    """
    expected = {
        part: shape
        for name, whole in wanted.items()
        for part, shape in file.parts(name, whole).items()
    }
    missing = [part for part in expected if part not in state]
    wrong = [
        f"{part} {[*np.shape(state[part])]} and not {[*shape]}"
        for part, shape in expected.items()
        if part in state and np.shape(state[part]) != shape
    ]
    # Quantised weights mean nothing without what they were divided by.
    wrong += [
        f"{part} of {state[part].dtype}"
        for part in expected
        if part in state and state[part].dtype.kind != "f"
    ]
    if missing or wrong:
        got = f"none for {missing[:3]}" if missing else "; ".join(wrong[:3])
        raise InputError(
            f"{what}: all {len(expected)} tensors of the text tower are required in "
            f"their shapes and as floating point, got {got} ({where}). Give the whole "
            "checkpoint of this model."
        )
    tower = {name: file.read(state, name) for name in wanted}
    if bad := [name for name, array in tower.items() if not np.isfinite(array).all()]:
        raise InputError(
            f"{what}: finite weights are required, got others in {len(bad)} "
            f"tensors: {', '.join(bad[:3])} ({where}). Copy or download the file again."
        )
    return tower


def size_of(tower: State, heads: int | None = None) -> Size:
    """Return the size that the tensors of a tower have.

    Args:
      tower: of `text_tower`.
      heads: of attention, where they are not 64 wide.
    """
    vocabulary, width = tower["token_embedding.weight"].shape
    return Size(
        dim=tower["text_projection"].shape[1],
        width=width,
        layers=sum(name.endswith("ln_1.weight") for name in tower),
        heads=heads or max(1, width // _HEAD_WIDTH),
        vocabulary=vocabulary,
        length=len(tower["positional_embedding"]),
    )


def of_layer(tower: State, number: int) -> Tower:
    """Return the tensors of one layer, without the beginning of their names."""
    start = LAYER.format(number)
    return {n.removeprefix(start): a for n, a in tower.items() if n.startswith(start)}


def to_transformers(tower: State) -> Tower:
    """Return a tower under the names of transformers' CLIPTextModelWithProjection."""
    out: Tower = {}
    for name, array in tower.items():
        array = array.T if name == "text_projection" else array
        names = names_in_transformers(name)
        out.update(zip(names, np.split(array, len(names)), strict=True))
    return out


def random_tower(size: Size, seed: int) -> Tower:
    """Return a tower that never saw a text: the same for a seed on every machine.

    Each tensor follows from its name and the seed alone; spreads are those that CLIP's
    training begins with, so that texts come out apart.
    """
    width = size.width
    deep = width**-0.5 * (2 * size.layers) ** -0.5
    spreads = {
        "token_embedding.weight": 0.02,
        "positional_embedding": 0.01,
        "text_projection": width**-0.5,
        "in_proj_weight": width**-0.5,
        "c_fc.weight": (2 * width) ** -0.5,
        "out_proj.weight": deep,
        "c_proj.weight": deep,
    }
    tower = {}
    for name, shape in shapes(size).items():
        if len(shape) == 1:
            value = float("ln_" in name and name.endswith("weight"))
            tower[name] = np.full(shape, value, np.float32)
            continue
        named = hashlib.sha256(f"{seed} {name}".encode()).digest()
        rng = np.random.Generator(np.random.Philox(int.from_bytes(named[:16], "big")))
        spread = next(s for end, s in spreads.items() if name.endswith(end))
        # Not from a normal distribution, which takes four times as long.
        edge = np.float32(spread * 12**0.5)
        tower[name] = (rng.random(shape, np.float32) - np.float32(0.5)) * edge
    return tower


def digest(tower: State) -> str:
    """Return `sha256:<hex>` of a tower, whatever file and precision it came in.

    Taken of the values in half precision: OpenAI's file holds its matrices so, and
    copies in single precision hold the same values.
    """
    sha = hashlib.sha256()
    for name in sorted(tower):
        half = np.asarray(tower[name], "<f2")
        sha.update(f"{name} {list(half.shape)}".encode())
        sha.update(np.ascontiguousarray(half).data)
    return f"sha256:{sha.hexdigest()}"


def _size(state: State, file: Names, where: object) -> Size:
    """Return the size that a file's tensors say; its layers are counted."""
    layers = 0
    while file.of(LAYER.format(layers) + "ln_1.weight")[0] in state:
        layers += 1
    outside = ("positional_embedding", "text_projection", ANCHOR)
    names = [file.of(name)[0] for name in outside]
    if bad := [n for n in names if n not in state or np.ndim(state[n]) != 2]:
        raise InputError(
            f"clip text: all tensors of the text tower are required, got no matrix "
            f"for {bad} ({where}). Give the whole checkpoint of this model."
        )
    tower = {name: file.read(state, name) for name in outside}
    return dataclasses.replace(size_of(tower), layers=max(1, layers))
