"""LSeg as a teacher: its checkpoint, its text space, images of any size."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_teachers import LSEG as TINY
from tiny_teachers import LSEG_CONFIG as SMALL
from tiny_teachers import LSEG_TOWER as TOWER

from sas_jax.artefacts.space import TextSpace
from sas_jax.errors import ContractError, InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers import checkpoint, clip_text, registry
from sas_jax.teachers.lseg import teacher as lseg
from sas_jax.teachers.lseg.config import LSegConfig
from sas_jax.teachers.lseg.network import LSegNet, architecture_of
from sas_jax.text import clip_weights


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Make the tower and the untrained network of the loader small."""
    monkeypatch.setitem(clip_weights.SIZES, lseg.TOWER, TOWER)
    monkeypatch.setattr(lseg, "Architecture", lambda: TINY)


@pytest.fixture(scope="module")
def network():
    return checkpoint.built(lambda: LSegNet(TINY), 0)


@pytest.fixture(scope="module")
def stored(network):
    """Return a checkpoint as the authors' trainer saves it."""
    state = {f"net.{name}": tensor for name, tensor in network.state_dict().items()}
    state["net.pretrained.model.head.weight"] = torch.zeros(1000, TINY.width)
    state["net.pretrained.model.head.bias"] = torch.zeros(1000)
    for name, array in clip_weights.random_tower(TOWER, 5).items():
        state[f"net.clip_pretrained.{name}"] = torch.from_numpy(array).half()
    state["net.clip_pretrained.visual.proj"] = torch.zeros(4, 4).half()
    state["net.clip_pretrained.logit_scale"] = torch.tensor(4.6)
    return state


def save(state, path):
    torch.save({"state_dict": state, "epoch": 200, "global_step": 1}, path)
    return str(path)


def load(weights, config=SMALL):
    return lseg.load(LoadOptions(weights, settings=config))


def image(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_without_training_it_is_the_same_network_for_a_seed():
    images = [image(24, 32)]
    first, again, other = (
        load(f"random:{seed}").features(images)[0] for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    spec = load("random:3").spec
    assert spec.weights_id == "random:3"
    assert spec.text_space.weights_sha256 == "random:3"
    assert spec.text_space.name == "clip-vit-b32"


@pytest.mark.parametrize("config", [SMALL, dataclasses.replace(SMALL, normalise=True)])
def test_images_of_any_size(config):
    teacher = load("random:0", config)
    sizes = [(97, 131), (131, 97), (1, 1), (64, 64), (1, 90), (200, 10), (300, 400)]
    images = [image(*size, seed=n) for n, size in enumerate(sizes)]
    together = teacher.features(images)
    for given, found in zip(images, together, strict=True):
        assert found.dtype == np.float16 and found.flags.c_contiguous
        assert max(found.shape[:2]) == 48 and found.shape[2] == 512
        lengths = np.linalg.norm(found.astype(np.float32), axis=2)
        assert np.isfinite(found).all() and (lengths < 2.01).all()
        if config.normalise:
            np.testing.assert_allclose(lengths, 1, atol=2e-3)
        assert np.array_equal(found, teacher.features([given])[0])
    assert teacher.features([]) == []


def test_an_image_that_is_none_is_refused():
    with pytest.raises(ContractError, match="uint8"):
        load("random:0").features([np.zeros((4, 4), np.uint8)])


def test_a_read_only_and_a_mirrored_image_are_taken():
    given = image(20, 30)
    given.flags.writeable = False
    teacher = load("random:0")
    found = teacher.features([given, given[:, ::-1]])
    assert found[0].shape == found[1].shape
    # The sum over mirror images is that of the mirrored image, mirrored.
    np.testing.assert_allclose(found[0], found[1][:, ::-1], atol=0.01)


def test_the_published_layout_of_a_checkpoint(stored, network, tmp_path):
    teacher = load(save(stored, tmp_path / "demo_e200.ckpt"))
    same = lseg.LSeg(network, clip_text.load(lseg.TOWER, weights="random:5"), "", SMALL)
    images = [image(30, 40)]
    assert np.array_equal(teacher.features(images)[0], same.features(images)[0])
    assert teacher.spec.weights_id.startswith("sha256:")
    # Its own text tower, which is in half precision there.
    texts = ["a chair in a scene", "other"]
    np.testing.assert_allclose(
        teacher.encode_text(texts), same.encode_text(texts), atol=2e-3
    )
    space = teacher.spec.text_space
    tower = clip_weights.random_tower(TOWER, 5)
    assert space.weights_sha256 == clip_weights.digest(tower)


def test_weights_are_what_counts_and_not_the_file(stored, tmp_path):
    plain = {name.removeprefix("net."): stored[name] for name in stored}
    ids = [
        load(save(state, tmp_path / f"{number}.ckpt")).spec
        for number, state in enumerate((stored, plain))
    ]
    assert ids[0] == ids[1]
    name = "net.scratch.head1.bias"
    other = load(save({**stored, name: stored[name] + 1}, tmp_path / "o.ckpt")).spec
    assert other.weights_id != ids[0].weights_id


def test_settings_stand_in_the_spec():
    changed = dataclasses.replace(SMALL, scales=(0.5, 1.0))
    assert load("random:0").spec != load("random:0", changed).spec


def test_the_recipe_is_that_of_the_options():
    official = lseg.load(LoadOptions("random:0", compat="official"))
    assert official.config == LSegConfig(compat="official")


def test_a_misplaced_crop_is_said_once(caplog):
    lseg._misplaced.cache_clear()
    teacher = load("random:0", LSegConfig("official", 64, 64))
    assert teacher.features([image(24, 32)])[0].shape == (24, 32, 512)
    assert not caplog.records
    teacher.features([image(48, 64), image(48, 64)])
    (said,) = caplog.messages
    assert "--lseg_base_size=128 --lseg_crop_size=128" in said


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scratch.refinenet2.out_conv.weight": None}, "scratch.refinenet2.out_conv"),
        ({"pretrained.model.blocks.1.attn.qkv.bias": None}, "blocks.1.attn.qkv.bias"),
        (
            {"pretrained.model.blocks.1.attn.qkv.bias": torch.zeros(191)},
            r"blocks.1.attn.qkv.bias \[191\] for \[192\]",
        ),
        (
            {"scratch.layer1_rn.weight": torch.zeros(16, 9, 3, 3)},
            r"layer1_rn.weight \[16, 9, 3, 3\]",
        ),
        ({"scratch.head_block.depthwise.depthwise.bias": torch.zeros(1)}, "head_block"),
        ({"pretrained.model.pos_embed": None}, "nothing for pretrained.model.pos_emb"),
        ({"scratch.head1.weight": torch.zeros(3)}, r"\[3\] for scratch.head1.weight"),
        ({"clip_pretrained.ln_final.bias": None}, "ln_final.bias"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(stored, tmp_path, change, named):
    state = dict(stored)
    for name, tensor in change.items():
        state.pop(f"net.{name}", None)
        if tensor is not None:
            state[f"net.{name}"] = tensor
    path = save(state, tmp_path / "demo_e200.ckpt")
    with pytest.raises(InputError, match=named) as told:
        load(path)
    assert "demo_e200.ckpt" in str(told.value)


def test_features_of_another_length_than_the_texts_are_refused(network):
    tower = clip_weights.random_tower(dataclasses.replace(TOWER, dim=16), 0)
    text = clip_text.TorchClipText(TextSpace(lseg.TOWER, "0", 16), tower)
    with pytest.raises(InputError, match="got 512 numbers"):
        lseg.LSeg(network, text, "")


def test_a_file_that_is_cut_short_is_refused(stored, tmp_path):
    path = tmp_path / "demo_e200.ckpt"
    save(stored, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"demo_e200\.ckpt"):
        load(str(path))


def test_absent_weights_are_told_with_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SAS_JAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"demo_e200\.ckpt.*lang-seg.*random:0"):
        registry.load("lseg")


def test_the_registry_knows_it(stored, tmp_path, monkeypatch):
    (tmp_path / "lseg").mkdir()
    save(stored, tmp_path / "lseg" / "demo_e200.ckpt")
    monkeypatch.setenv("SAS_JAX_WEIGHTS", str(tmp_path))
    teacher = registry.load("lseg", contracts=("dense",)).to("cpu")
    assert teacher.spec.name == "lseg" and teacher.config == LSegConfig()
    teacher.close()


def test_sizes_follow_from_the_checkpoint(network):
    state = network.state_dict()
    assert architecture_of(state) == TINY
    assert architecture_of(state, heads=4, taps=(0, 1, 1, 2)) == dataclasses.replace(
        TINY, heads=4, taps=(0, 1, 1, 2)
    )


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (96, 64), (32, 160)])
def test_the_network_takes_what_its_coarsest_map_divides(network, size):
    found = network(torch.zeros(2, 3, *size))
    assert found.shape == (2, 512, size[0] // 2, size[1] // 2)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, *found.shape[2:]))
    edges = [tuple(m.shape[2:]) for m in network.maps(torch.zeros(1, 3, *size))]
    assert edges == [(size[0] // n, size[1] // n) for n in (4, 8, 16, 32)]
    with pytest.raises(ContractError, match="multiples of 32"):
        network(torch.zeros(1, 3, size[0] + 16, size[1]))
