"""Training of the small diffusion model: captions, crops, resuming, learning."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from sas_jax.errors import DamagedFile, InputError
from sas_jax.rooms.painter import crops, pretrain
from sas_jax.rooms.painter.captions import CaptionConfig, Seen, draw_caption, join_words
from sas_jax.rooms.painter.diffusion_net import SmallDiffusionConfig
from sas_jax.rooms.painter.pretrain import PretrainConfig
from sas_jax.rooms.painter.windows import draw_window
from sas_jax.rooms.scan.config import FIRST_PRETRAINING_SEED

NETWORK = SmallDiffusionConfig(image_size=16, channels=(8, 8, 16), heads=2)
QUICK = PretrainConfig(
    steps=6, batch=4, warmup=2, bfloat16=False, checkpoint_seconds=1e9, log_every=2
)
SEEN = [
    Seen("chair", "armchair", "red", 0.4),
    Seen("wall", "wall", "white", 0.3),
    Seen("table", "table", "", 0.02),
]


def plain_crops(count=12, size=16):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 1, 1, 3), np.uint8)
    images = np.broadcast_to(images, (count, size, size, 3)).copy()
    labels = np.zeros((count, size, size), np.uint8)
    focus = np.array([4, 4, 4, 4, 4, 4, 4, 4, 4, 6, 6, 255], np.uint8)
    return crops.Crops(images, labels, focus, [SEEN] * count)


def test_caption_parts_follow_the_odds():
    rng = np.random.default_rng(0)
    always = CaptionConfig(drop=0, alone=1, noun=0, color=0, room=1)
    texts = {draw_caption(SEEN, rng, always) for _ in range(60)}
    assert "a good photo of a chair in a room" in texts
    assert all(text.endswith("a chair in a room") for text in texts)
    colored = dataclasses.replace(always, color=1, noun=1, room=0)
    assert draw_caption(SEEN, rng, colored).endswith("a red armchair")
    assert draw_caption(SEEN, rng, dataclasses.replace(always, drop=1)) == ""
    assert draw_caption([], rng, always) == ""


def test_lists_name_each_class_once_and_nothing_tiny():
    rng = np.random.default_rng(0)
    listing = CaptionConfig(drop=0, alone=0, noun=0, color=0, room=0)
    texts = [draw_caption(SEEN, rng, listing) for _ in range(60)]
    assert all("table" not in text for text in texts)
    assert any("a chair and a wall" in text for text in texts)
    assert any("a wall and a chair" in text for text in texts)
    assert join_words(["a", "b", "c"]) == "a, b and c"


def test_every_focus_class_is_drawn_as_often():
    rows = plain_crops().draw(np.random.default_rng(0), 3000)
    focus = plain_crops().focus[rows]
    share = [(focus == kind).mean() for kind in (4, 6, 255)]
    np.testing.assert_allclose(share, [0.4, 0.4, 0.2], atol=0.04)


def test_only_wide_views_can_be_drawn_too():
    made = plain_crops()
    wide = dataclasses.replace(made, focus=np.full(12, 255, np.uint8))
    assert len(wide.draw(np.random.default_rng(0), 5)) == 5


def test_a_window_is_described_by_what_it_shows():
    made = plain_crops(size=40)
    made.images[0, :, :20], made.images[0, :, 20:] = 10, 200
    made.labels[0, :, :20], made.labels[0, :, 20:] = 4, 6
    rng = np.random.default_rng(0)
    mirrored = set()
    for _ in range(30):
        image, seen = draw_window(made, 0, 16, rng)
        assert image.shape == (16, 16, 3)
        dark = (image[..., 0] < 100).mean()
        shares = {thing.class_name: thing.fraction for thing in seen}
        assert set(shares) == {"chair", "table"}
        assert shares["chair"] == pytest.approx(dark, abs=0.07)
        assert shares["chair"] + shares["table"] == pytest.approx(1)
        assert seen[0].class_name == "chair"
        mirrored.add(bool(image[8, 0, 0] < image[8, -1, 0]))
    assert mirrored == {True, False}


def test_long_captions_lose_their_last_things():
    rng = np.random.default_rng(0)
    things = [Seen(str(i), f"thing {i}", "", 0.2) for i in range(5)]
    short = CaptionConfig(drop=0, alone=0, noun=1, color=0, max_words=12)
    for _ in range(40):
        assert 2 <= len(draw_caption(things, rng, short).split()) <= 12


def test_crops_survive_the_disk(tmp_path):
    path = tmp_path / "crops.safetensors"
    made = dataclasses.replace(plain_crops(), key="rooms")
    made.write(path)
    back = crops.read_crops(path)
    assert back.key == "rooms"
    assert (back.images == made.images).all()
    assert back.seen == made.seen
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DamagedFile):
        crops.read_crops(path)


def test_crops_of_a_room_show_their_focus():
    pytest.importorskip("embreex")
    config = crops.CropConfig(image_size=32, per_class=1, wide=1)
    made = crops.make_crops([FIRST_PRETRAINING_SEED], config)
    again = crops.make_crops([FIRST_PRETRAINING_SEED], config)
    assert (made.images == again.images).all()
    assert made.key == crops.crops_key([FIRST_PRETRAINING_SEED], config)
    assert made.images.shape[1:] == (32, 32, 3)
    assert (made.focus == 255).sum() == 1
    for label, focus, seen in zip(made.labels, made.focus, made.seen, strict=True):
        if focus != 255:
            share = (label == focus).mean()
            # a thumbnail decides, which errs by some of its 576 pixels
            assert share >= config.focus_fraction[0] - 0.03
            assert seen[0].fraction == pytest.approx(share)


def test_a_camera_looks_at_its_aim():
    eye, aim = np.array([1.0, 2.0, 1.5]), np.array([3.0, 1.0, 0.5])
    pose = crops.look_at(eye, aim, 0.2)
    local = pose[:3, :3].T @ (aim - eye)
    np.testing.assert_allclose(local, [0, 0, np.linalg.norm(aim - eye)], atol=1e-9)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    assert crops.look_at(eye, aim, 0.0)[2, 1] < 0  # the image's down is the world's


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path):
    data, log = plain_crops(), []
    whole = pretrain.train(data, tmp_path / "a", QUICK, NETWORK, log=log.append)
    pretrain.train(data, tmp_path / "b", QUICK, NETWORK, seconds=0, log=log.append)
    stopped, key = (
        pretrain.begin(NETWORK, QUICK),
        pretrain.run_key(data, NETWORK, QUICK),
    )
    pretrain.restore(stopped, tmp_path / "b" / "checkpoint.safetensors", key)
    assert stopped.step == 1
    often = dataclasses.replace(QUICK, checkpoint_seconds=0.0)  # not another run
    resumed = pretrain.train(data, tmp_path / "b", often, NETWORK, log=log.append)
    for name, value in whole.unet.state_dict().items():
        assert torch.equal(value, resumed.unet.state_dict()[name]), name
    assert any("step 6 loss" in line for line in log)


def test_training_lowers_the_loss():
    data = plain_crops()
    config = dataclasses.replace(QUICK, steps=40, rate=3e-3, batch=8)
    losses = []
    state = pretrain.begin(NETWORK, config)
    source = pretrain._BatchSource(data, NETWORK, config)
    for step in range(config.steps):
        losses.append(pretrain.train_step(state, source(step), config))
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:5])


def test_the_rate_warms_up_and_falls():
    config = PretrainConfig(steps=100, warmup=10, rate=1.0, final_rate=0.1)
    rates = [pretrain.learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert max(rates) > 0.95
    assert rates[100] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_training_begins_at_given_weights(tmp_path):
    data, config = plain_crops(), dataclasses.replace(QUICK, steps=1)
    given = pretrain.train(data, tmp_path / "a", config, NETWORK, log=str)
    state = pretrain.begin(NETWORK, config, given)
    for name, value in given.unet.state_dict().items():
        assert torch.equal(value, state.unet.state_dict()[name]), name
        assert torch.equal(value, state.average[name]), name
    with pytest.raises(InputError, match="same network"):
        other = dataclasses.replace(NETWORK, heads=4)
        pretrain.begin(other, config, given)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    data, config = plain_crops(), dataclasses.replace(QUICK, steps=1)
    given = pretrain.train(data, tmp_path, config, NETWORK, log=str)
    path = tmp_path / "checkpoint.safetensors"
    before = path.read_bytes()

    def again(data=data, config=config, network=NETWORK, initial=None):
        pretrain.train(data, tmp_path, config, network, initial=initial, log=str)

    for change in (
        {"data": dataclasses.replace(data, key="other rooms")},
        {"config": dataclasses.replace(config, rate=1e-4)},
        {"config": dataclasses.replace(config, steps=2)},
        {"network": dataclasses.replace(NETWORK, heads=4)},
        {"initial": given},
    ):
        with pytest.raises(InputError, match=r"same run.*Delete that file"):
            again(**change)
    assert path.read_bytes() == before
    again()
