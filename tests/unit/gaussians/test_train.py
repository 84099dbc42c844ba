"""Training fits images, goes on to the same bits, and says what it cannot use."""

import dataclasses
import logging

import jax
import numpy as np
import one_room
import pytest

from sas_jax.errors import DamagedFile, InputError
from sas_jax.gaussians import train as training
from sas_jax.gaussians.score import score
from sas_jax.gaussians.seed import seed_splats
from sas_jax.gaussians.train import train, training_key
from sas_jax.gaussians.training_config import SeedConfig, SplatRates, SplatTrainConfig
from sas_jax.gaussians.training_files import load_checkpoint
from sas_jax.gaussians.training_step import splats_of
from sas_jax.gaussians.views import read_views
from sas_jax.scenes.scene import BadFrame, Frame, Scene

SIZE_WH = (32, 24)
FRAMES = 8
SEEDS = SeedConfig(300)


class Pictures:
    """Frames of the empty room; `bad` ones cannot be used."""

    def __init__(self, count=FRAMES, size_wh=SIZE_WH, bad=(), gains=None):
        scale = size_wh[0] / 64
        k = one_room.matrix(
            40 * scale, 40 * scale, size_wh[0] / 2 - 0.5, size_wh[1] / 2 - 0.5
        )
        self.pictures = one_room.pictures(k, size_wh, count)
        self.names = tuple(map(str, range(count)))
        self.bad, self.gains = bad, gains

    def read(self, name):
        if name in self.bad:
            raise BadFrame("no pose", f"frame {name}: a finite pose is required.")
        seen = self.pictures[int(name)]
        rgb = seen.rgb
        if self.gains is not None:
            rgb = np.rint(rgb * self.gains[int(name)]).clip(0, 255).astype(np.uint8)
        return Frame(name, rgb, None, seen.intrinsics, seen.pose)


def scene(source=None, **more):
    source = source or Pictures()
    points = np.concatenate([one_room.points_of(p) for p in Pictures().pictures])
    points = points.astype(np.float32)
    colors = one_room.colors_at(points)
    return Scene("room", points, **{"colors": colors, **more}, frame_source=source)


def begun(config, source=None):
    room = scene(source)
    return seed_splats(room.points, room.colors, config.seeds), read_views(room)


def run(config, steps_made=(), **more):
    seeds, views = begun(config)
    return train(seeds, views.train, config, **more)


def bits(checkpoint):
    leaves = jax.tree.leaves(checkpoint.state)
    return [np.asarray(leaf).tobytes() for leaf in leaves]


CONFIG = SplatTrainConfig(
    steps=12, refine_every=3, checkpoint_every=5, split_share=0.2, seeds=SEEDS
)


def test_training_fits_its_images_and_those_held_out():
    config = SplatTrainConfig(
        steps=150,
        refine_every=50,
        match_exposure=False,
        seeds=SEEDS,
        rates=SplatRates(sh0=2e-2),  # from grey to a colour in fewer steps
    )
    room = scene(colors=None)
    seeds, views = seed_splats(room.points, None, SEEDS), read_views(room)
    assert (len(views.train), len(views.held_out), views.skipped) == (7, 1, 0)
    losses = []
    found = train(
        seeds,
        views.train,
        config,
        on_step=lambda done, loss, number: losses.append(loss),
    )
    splats = splats_of(found.state)
    assert len(splats) > len(seeds)
    assert np.mean(losses[-7:]) < 0.5 * np.mean(losses[:7])
    for part in (views.train, views.held_out):
        assert score(splats, part).psnr > score(seeds, part).psnr + 8


def test_a_run_goes_on_to_the_same_bits(tmp_path):
    whole = run(CONFIG)
    path, key = tmp_path / "splats.checkpoint", "k"

    class Killed(Exception):
        pass

    def kill(done, loss, number):
        if done == 8:
            raise Killed

    with pytest.raises(Killed):
        run(CONFIG, checkpoint=path, key=key, on_step=kill)
    assert load_checkpoint(path, key).step == 5
    made = []
    again = run(
        CONFIG, checkpoint=path, key=key, on_step=lambda done, *_: made.append(done)
    )
    assert made == list(range(6, 13))
    assert bits(again) == bits(whole)
    # Done is done, and other inputs begin anew.
    done = run(CONFIG, checkpoint=path, key=key, on_step=kill)
    assert bits(done) == bits(whole) and done.seconds == again.seconds
    assert load_checkpoint(path, "another") is None
    assert bits(run(dataclasses.replace(CONFIG, seed=1))) != bits(whole)


def test_a_damaged_checkpoint_is_told_and_begun_again(tmp_path, caplog):
    path = tmp_path / "splats.checkpoint"
    config = dataclasses.replace(CONFIG, steps=2)
    whole = run(config, checkpoint=path, key="k")
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match="another checksum"):
        load_checkpoint(path, "k")
    path.write_bytes(data[:-4])
    with caplog.at_level(logging.WARNING):
        again = run(config, checkpoint=path, key="k")
    assert "training begins again" in caplog.text
    assert bits(again) == bits(whole)


def test_too_little_room_for_pairs_changes_no_bit(monkeypatch):
    config = dataclasses.replace(CONFIG, steps=3, refine_every=0)
    enough = run(config)
    monkeypatch.setattr(training, "_capacity", lambda state, views: 40)
    little = run(config)
    assert little.pairs > 40
    for a, b in zip(*map(jax.tree.leaves, (enough.state, little.state)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert int(little.state.adam.count) == 3


def test_gains_of_frames_are_learned_and_left_out_of_the_scene():
    gains = np.where(np.arange(FRAMES) % 2, 0.7, 1.1)
    config = SplatTrainConfig(steps=150, refine_every=0, seeds=SEEDS)
    found = {}
    for match in (True, False):
        chosen = dataclasses.replace(config, match_exposure=match)
        seeds, views = begun(chosen, Pictures(gains=gains))
        state = train(seeds, views.train, chosen).state
        found[match] = score(splats_of(state), views.held_out)
        dim = np.array([int(view.name) % 2 == 1 for view in views.train])
        gain, offset = state.parameters.gains, state.parameters.offsets
        # What each view makes of grey.
        grey = np.mean(np.exp(gain) * 0.5 + offset, axis=1)
        if match:
            assert grey[dim].max() < grey[~dim].min()
        else:
            np.testing.assert_allclose(grey, 0.5, rtol=1e-7)
    assert found[True].matched_psnr > found[False].matched_psnr
    assert found[True].matched_psnr > found[True].psnr


def test_frames_that_cannot_be_used_are_counted_and_move_no_other():
    whole = read_views(scene())
    less = read_views(scene(Pictures(bad=("1", "6"))))
    assert less.skipped == 2
    assert [v.name for v in less.held_out] == [v.name for v in whole.held_out] == ["4"]
    assert [v.name for v in less.train] == ["0", "2", "3", "5", "7"]


@pytest.mark.parametrize(
    ("count", "bad", "said"),
    [
        (0, (), "got 0 and 0 of 0 frames"),
        (1, (), "got 1 and 0 of 1 frames"),
        (FRAMES, ("4",), "got 7 and 0 of 8 frames, 1 of them unusable"),
    ],
)
def test_too_few_frames_are_said_in_one_line(count, bad, said):
    with pytest.raises(InputError, match=said) as error:
        read_views(scene(Pictures(count, bad=bad)))
    assert "--held_out_every" in str(error.value) and "\n" not in str(error.value)


def test_images_smaller_than_a_window_of_ssim_are_refused():
    with pytest.raises(InputError, match="11 pixels or more along each side"):
        read_views(scene(Pictures(size_wh=(16, 10))))


def test_a_loss_that_is_no_number_ends_training():
    seeds, views = begun(CONFIG)
    seeds.sh[:] = np.nan
    with pytest.raises(InputError, match="a finite loss is required, got nan in step"):
        train(seeds, views.train, CONFIG)


def test_the_key_holds_all_that_decides():
    def key(*inputs, config=CONFIG):
        return training_key(*inputs, config)

    base = key("views", 1, (32, 24))
    assert key("others", 1, (32, 24)) != base
    assert key("views", 2, (32, 24)) != base
    assert key("views", 1, None) != base
    assert key("views", 1, (32, 24), config=dataclasses.replace(CONFIG, seed=3)) != base
    rarely = dataclasses.replace(CONFIG, checkpoint_every=7)
    assert key("views", 1, (32, 24), config=rarely) == base


@pytest.mark.parametrize(
    "wrong",
    [
        *({"steps": 0}, {"held_out_every": 1}, {"dssim_share": 1.5}, {"seed": -1}),
        *({"refine_every": -1}, {"split_share": 2}, {"prune_opacity": float("nan")}),
        {"checkpoint_every": 0},
    ],
)
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match="Change --"):
        SplatTrainConfig(**wrong)
