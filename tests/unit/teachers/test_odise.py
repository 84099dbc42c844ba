"""ODISE as a mask teacher, small: sizes, names, and what is absent."""

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import diffusers
import safetensors.torch
import tiny_odise
import tiny_teachers
import torch
import transformers

from sas_jax.errors import ContractError, InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry
from sas_jax.teachers.contracts import check_segments
from sas_jax.teachers.odise import frozen
from sas_jax.teachers.odise.config import OdiseSettings
from sas_jax.teachers.odise.teacher import OdiseTeacher, to_input
from sas_jax.teachers.pretrained import load_pretrained
from sas_jax.teachers.seem.vocabulary import vocabulary_of


@pytest.fixture(scope="module")
def teacher():
    return tiny_teachers.odise()


def _image(height, width, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(48, 64), (1, 1), (31, 97), (200, 20), (90, 160)])
def test_any_size_gives_sound_segments(teacher, size):
    (found,) = teacher.segment([_image(*size)])
    check_segments(found, "odise")
    assert found.ids.shape == found.label_map.shape == size
    assert set(np.unique(found.ids)) - {0} == set(range(1, len(found.labels) + 1))
    assert len(found.label_names) == 138 and set(found.labels) <= set(found.label_names)
    assert ((found.scores > 0) & (found.scores <= 1)).all()
    assert found.label_map.min() >= 0 and found.label_map.max() < 138


def test_names_can_be_asked_for_and_images_do_not_mix(teacher):
    images = [_image(40, 60), _image(64, 48, seed=1)]
    together = teacher.segment(images, ["chair", "wall", "thing of mine"])
    for image, found in zip(images, together, strict=True):
        (alone,) = teacher.segment([image], ["chair", "wall", "thing of mine"])
        assert np.array_equal(found.ids, alone.ids) and found.labels == alone.labels
        assert found.label_names == ("chair", "wall", "thing of mine")


def test_masks_without_a_name_are_void(teacher):
    trained = teacher._network.trained
    image = _image(64, 80)
    assert teacher.segment([image])[0].labels
    before = {key: value.clone() for key, value in trained.state_dict().items()}
    said, _, _ = teacher._network(to_input(image, teacher.settings))
    try:
        # Closer to every mask than any name.
        trained.null_embed.copy_(said.embeddings[0].mean(0, keepdim=True))
        trained.generator.logit_scale.fill_(4.0)
        (found,) = teacher.segment([image])
        assert found.labels == [] and not found.ids.any()
    finally:
        trained.load_state_dict(before)


def test_clip_weighs_as_the_settings_say(teacher):
    def logits(**shares):
        settings = OdiseSettings(70, 150, **shares)
        one = OdiseTeacher(
            teacher._network, teacher._classes, teacher._shared, "random:0", settings
        )
        asked = vocabulary_of(["chair", "wall", "thing of mine"])
        texts = torch.from_numpy(one._classes.encode(asked.names[:-1]))
        return one._classified(to_input(_image(40, 60), settings), asked, texts)[0]

    first, second = logits(clip_seen=1.0, clip_unseen=0.0), logits(clip_seen=1.0)
    # Names of COCO change alike, by the sum of all; the other one changes otherwise.
    change = second - first
    torch.testing.assert_close(change[:, 0], change[:, 1], rtol=0, atol=1e-5)
    assert not torch.allclose(change[:, 0], change[:, 2], atol=1e-3)
    torch.testing.assert_close(change[:, 3], torch.zeros(7))


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="odise_clip_seen"):
        OdiseSettings(clip_seen=1.5)
    with pytest.raises(InputError, match="odise_long_side"):
        OdiseSettings(long_side=500)


def test_feature_maps_follow_their_windows(teacher):
    network = teacher._network
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 128)
    maps = network.maps(image)
    for left in (0, 64):
        alone = network.maps(image[..., left : left + 64])
        for stride, whole, part in zip((4, 8, 16, 32), maps, alone, strict=True):
            columns = slice(left // stride, (left + 64) // stride)
            torch.testing.assert_close(whole[..., columns], part)


@pytest.mark.parametrize(
    ("image", "seen"),
    [((768, 1024), (1024, 1365)), ((100, 1000), (256, 2560)), ((1, 1), (1024, 1024))],
)
def test_sizes_that_the_network_sees(image, seen):
    pixels = to_input(np.full((*image, 3), 255, np.uint8), OdiseSettings())
    assert pixels.shape == (3, *seen) and float(pixels.max()) == 1.0


def test_what_is_no_image_is_refused(teacher):
    with pytest.raises(ContractError, match="uint8"):
        teacher.segment([np.zeros((4, 4), np.uint8)])


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(WeightsMissing, match="odise needs odise_label_coco"):
        registry.load("odise", LoadOptions(str(tmp_path)))


def test_the_empty_caption_is_padded_with_ends():
    class Text:
        def __call__(self, input_ids):
            self.ids, self.last_hidden_state = input_ids, input_ids[..., None].float()
            return self

    text = Text()
    assert frozen.empty_caption(text).shape == (1, 77, 1)
    assert text.ids[0, :2].tolist() == [49406, 49407]
    assert text.ids[0].unique().tolist() == [49406, 49407]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Small Stable Diffusion and CLIP as folders of diffusers and transformers."""
    folder = tmp_path_factory.mktemp("weights")
    network = tiny_odise.network()
    network.diffusion.unet.save_pretrained(folder / "odise" / "unet")
    network.diffusion.vae.save_pretrained(folder / "odise" / "vae")
    network.clip.tower.save_pretrained(folder / "clip")
    return folder, network


def test_networks_of_a_folder_are_read_whole(saved):
    folder, network = saved
    kind = transformers.CLIPVisionModelWithProjection
    tower = load_pretrained(kind, folder / "clip", what="odise")
    kind = diffusers.UNet2DConditionModel
    unet = load_pretrained(kind, folder / "odise", what="odise", subfolder="unet")
    for read, made in ((tower, network.clip.tower), (unet, network.diffusion.unet)):
        wanted = made.state_dict()
        assert all(torch.equal(v, wanted[k]) for k, v in read.state_dict().items())


def test_a_folder_that_lacks_a_tensor_is_refused(saved, tmp_path):
    copy = shutil.copytree(saved[0] / "clip", tmp_path / "clip")
    path = copy / "model.safetensors"
    state = safetensors.torch.load_file(path)
    state.pop("visual_projection.weight")
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"got none for.*visual_projection"):
        load_pretrained(transformers.CLIPVisionModelWithProjection, copy, what="odise")
