"""Extraction: a flat wall and one camera, worked out by hand; streaming; keys."""

import dataclasses

import numpy as np
import pytest
from text_spaces import space
from walls import NO_BORDER, SPEC, ColourTeacher, Frames, LeftRightTeacher, frame, scene

from sas_jax import memory
from sas_jax.artefacts.features import geometry_of
from sas_jax.errors import InputError
from sas_jax.lifting import extract
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.extract import extract_scene, extraction_key, feature_images
from sas_jax.registry import LoadOptions
from sas_jax.scenes.scene import BadFrame, Scene
from sas_jax.teachers import registry


def extract_one(scene, teacher, config, **more):
    (features,) = extract_scene(scene, [teacher], config, **more)
    return features


def test_features_say_of_which_points_they_are():
    seen = scene([frame("a", (255, 0, 0))])
    features = extract_one(seen, ColourTeacher(), NO_BORDER)
    assert features.geometry == geometry_of(seen.points)


def test_a_point_gets_the_mean_over_the_frames_that_see_it():
    frames = [frame("a", (255, 0, 0)), frame("b", (0, 255, 0), shift_x=1.0)]
    features = extract_one(scene(frames), ColourTeacher(), NO_BORDER)
    # Point 0 leaves the second image; point 2 lies behind the plane, 3 far outside.
    assert features.point_index.tolist() == [0, 1]
    assert features.counts.tolist() == [1, 2]
    assert features.num_points == 4
    np.testing.assert_allclose(features.feat, [[1, 0, 0], [0.5, 0.5, 0]], atol=1e-3)


def test_features_that_do_not_fit_the_memory_are_refused_before_a_frame(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 8 * 10**9)
    many = np.broadcast_to(np.zeros(3, np.float32), (10**7, 3))
    wide = dataclasses.replace(SPEC, text_space=space(512), feat_dim=512)
    teachers = [ColourTeacher(), ColourTeacher()]
    for teacher in teachers:
        teacher.spec = wide
    large = Scene("large", many, frame_source=Frames([frame("a", (0, 0, 0))]))
    with pytest.raises(InputError, match=r"51\.2 GB .* 10000000 points .*--teachers"):
        extract_scene(large, teachers, NO_BORDER)
    assert not teachers[0].batches


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_the_batch_changes_nothing(batch):
    frames = [frame(str(i), (40 * i, 255 - 40 * i, 7)) for i in range(5)]
    config = dataclasses.replace(NO_BORDER, batch=batch)
    teacher, seen = ColourTeacher(), []
    features = extract_one(scene(frames), teacher, config, on_frame=seen.append)
    expected = extract_one(scene(frames), ColourTeacher(), NO_BORDER)
    np.testing.assert_array_equal(features.feat, expected.feat)
    assert [f.name for f in seen] == ["0", "1", "2", "3", "4"]
    assert max(teacher.batches) == min(batch, 5)


class BrokenFrames(Frames):
    """Cannot read one of them."""

    broken = "2"

    def read(self, name):
        if name == self.broken:
            raise BadFrame("unreadable colour", f"no {name}")
        return super().read(name)


@pytest.mark.parametrize("batch", [1, 2, 4, 5])
def test_a_broken_frame_leaves_the_others_their_bytes(batch):
    teacher = registry.load("rooms-dense", LoadOptions("random:0"))
    colours = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3))
    frames = [frame(str(i), rgb, 0.1 * i) for i, rgb in enumerate(colours)]
    config = dataclasses.replace(NO_BORDER, batch=batch)
    seen = scene(frames)
    broken = dataclasses.replace(seen, frame_source=BrokenFrames(frames))
    found = extract_one(broken, teacher, config)
    assert broken.skipped == {"unreadable colour": 1}
    without = extract_one(scene(frames[:2] + frames[3:]), teacher, NO_BORDER)
    assert found.feat.tobytes() == without.feat.tobytes()
    assert found.counts.tobytes() == without.counts.tobytes()
    whole = extract_one(seen, teacher, NO_BORDER)
    assert found.feat.tobytes() != whole.feat.tobytes()


@pytest.mark.parametrize("fault", ["teacher", "frames", "features"])
def test_what_goes_wrong_on_any_thread_is_raised(monkeypatch, fault):
    def fail(*arguments, **more):
        raise InputError("it broke")

    teacher, seen = ColourTeacher(), scene([frame(str(i), 9) for i in range(5)])
    owner = {"teacher": teacher, "frames": Frames, "features": extract.Lifter}[fault]
    method = {"teacher": "features", "frames": "read", "features": "add"}[fault]
    monkeypatch.setattr(owner, method, fail)
    with pytest.raises(InputError, match="it broke"):
        extract_one(seen, teacher, NO_BORDER)


def test_the_stride_takes_every_nth_frame():
    frames = [frame(str(i), (255 if i % 2 else 0, 0, 0)) for i in range(4)]
    config = dataclasses.replace(NO_BORDER, frame_stride=2)
    features = extract_one(scene(frames), ColourTeacher(), config)
    assert not features.feat.any() and features.counts.tolist() == [2, 2]


def test_masks_are_aligned_and_void_pixels_do_not_count():
    features = extract_one(scene([frame("a", 9)]), LeftRightTeacher(), NO_BORDER)
    assert features.point_index.tolist() == [0]
    text = LeftRightTeacher().encode_text(["a bed in a scene"])
    np.testing.assert_allclose(features.feat, text, atol=1e-3)


def test_the_captioner_is_asked_about_each_image():
    class Captioner:
        id = "fixed"

        def caption(self, image, segments):
            return ["a red thing"] * len(segments.labels)

    (lifted,) = feature_images(
        [np.zeros((4, 6, 3), np.uint8)], LeftRightTeacher(), Captioner()
    )
    text = LeftRightTeacher().encode_text(["a red bed"])
    np.testing.assert_array_equal(lifted.codebook, text.astype(np.float16))


def test_frames_are_read_and_projected_once_for_all_teachers(monkeypatch):
    seen = scene([frame(str(i), (40 * i, 9, 255), 0.3 * i) for i in range(5)])
    read, projected = [], []
    serve, plain = seen.frame_source.read, extract.project
    monkeypatch.setattr(
        Frames, "read", lambda self, name: read.append(name) or serve(name)
    )
    monkeypatch.setattr(
        extract, "project", lambda p, f, **k: projected.append(f) or plain(p, f, **k)
    )
    teachers = [LeftRightTeacher(), ColourTeacher(), LeftRightTeacher()]
    together = extract_scene(seen, teachers, NO_BORDER)
    assert len(read) == len(projected) == 5
    for teacher, features in zip(teachers, together, strict=True):
        alone = extract_one(seen, type(teacher)(), NO_BORDER)
        for field in ("feat", "row", "counts"):
            ours, theirs = getattr(features, field), getattr(alone, field)
            assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()
        assert (features.space, features.geometry) == (alone.space, alone.geometry)


def test_a_scene_that_nobody_sees_has_no_rows():
    features = extract_one(scene([]), ColourTeacher(), NO_BORDER)
    assert features.feat.shape == (0, 3) and not features.seen.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contract": "heat"}, "must be dense or mask"),
        ({"feat_dim": 0}, "must give features"),
    ],
)
def test_a_teacher_without_features_is_refused(changes, message):
    teacher = ColourTeacher()
    teacher.spec = dataclasses.replace(SPEC, **changes)
    with pytest.raises(InputError, match=message):
        extract_one(scene([frame("a", 0)]), teacher, NO_BORDER)


def test_the_key_follows_all_that_changes_features():
    teacher, masks = ColourTeacher(), LeftRightTeacher()

    class Captioner:
        id = "fixed"

    keys = [
        extraction_key("scene", teacher, ExtractConfig()),
        extraction_key("scene", masks, ExtractConfig()),
        extraction_key("scene", masks, ExtractConfig(), Captioner()),
        extraction_key("scene", teacher, NO_BORDER),
        extraction_key("scene", teacher, ExtractConfig(frame_stride=2)),
        extraction_key("scene", teacher, ExtractConfig(image_size_wh=(160, 120))),
        extraction_key("other", teacher, ExtractConfig()),
    ]
    assert len(set(keys)) == len(keys)
    batch = ExtractConfig(batch=1)
    assert extraction_key("other", teacher, batch) == keys[-1]


@pytest.mark.parametrize("size", [(320,), (0, 240)])
def test_an_image_size_is_a_width_and_a_height(size):
    with pytest.raises(InputError, match="width and a height"):
        ExtractConfig(image_size_wh=size)
