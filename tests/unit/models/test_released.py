"""Published checkpoints become students and come back; faults are named."""

import numpy as np
import pytest

from sas_jax.artefacts.torch_files import read_torch
from sas_jax.artefacts.torch_write import write_torch
from sas_jax.errors import InputError
from sas_jax.models.config import ARCHITECTURES, StudentConfig
from sas_jax.models.port import minkowski_shapes
from sas_jax.models.released import detect, read_checkpoint, write_checkpoint
from sas_jax.models.student_file import read_student, write_student
from sas_jax.text.known_texts import CLIP_B32, CLIP_L14_336, PUBLISHED


def state_of(config, steps=77):
    """A state dict of a network, no array of which is another's."""
    rng = np.random.default_rng(3)
    return {
        name: np.array(steps)
        if name.endswith("num_batches_tracked")
        else rng.normal(size=shape).astype(np.float32)
        for name, shape in minkowski_shapes(config).items()
    }


def checkpoint(path, state, prefix="module.net3d."):
    data = {"epoch": 7, "best_iou": 0.5, "optimizer": {"state": {}, "lr": 0.1}}
    state = {prefix + name: array for name, array in state.items()}
    write_torch(path, {**data, "state_dict": state})
    return path


def back_and_forth(path, tmp_path, prefix):
    """Import a checkpoint into our file, and export that again."""
    student = read_checkpoint(path, 0.02, PUBLISHED)
    write_student(tmp_path / "student.safetensors", student, exact=True)
    student = read_student(tmp_path / "student.safetensors")
    write_checkpoint(tmp_path / "back.pth.tar", student, prefix)
    return student, read_torch(tmp_path / "back.pth.tar")["state_dict"]


def assert_same(ours, theirs):
    assert set(ours) == set(theirs)
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype and ours[name].shape == array.shape
        assert ours[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize(
    ("arch", "dim", "prefix", "space"),
    [
        ("MinkUNet14A", 512, "module.net3d.", CLIP_B32),
        ("MinkUNet18A", 768, "net3d.", CLIP_L14_336),
        ("MinkUNet34C", 768, "", CLIP_L14_336),
    ],
)
def test_a_checkpoint_comes_back_bit_by_bit(tmp_path, arch, dim, prefix, space):
    state = state_of(StudentConfig(arch, out_dim=dim))
    path = checkpoint(tmp_path / "model.pth.tar", state, prefix)
    student, back = back_and_forth(path, tmp_path, prefix)
    assert student.config == StudentConfig(arch, out_dim=dim)
    assert student.text_space == space and student.step == 77
    assert_same(back, {prefix + name: array for name, array in state.items()})


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
def test_every_architecture_is_known_by_its_shapes(arch):
    layers, widths = ARCHITECTURES[arch]
    state = {
        f"block{b}.{i}.conv1.kernel": np.empty((27, 1, width), np.float32)
        for b, (n, width) in enumerate(zip(layers, widths, strict=True), 1)
        for i in range(n)
    }
    state["conv0p1s1.kernel"] = np.empty((125, 4, 32), np.float32)
    state["final.kernel"] = np.empty((widths[-1], 20), np.float32)
    assert detect(state, "here") == StudentConfig(arch, in_channels=4, out_dim=20)


def test_the_original_comes_back_bit_by_bit(golden, tmp_path):
    with np.load(golden / "minkunet18a_512_state.npz", allow_pickle=False) as file:
        state = {name: file[name] for name in file.files}
    path = checkpoint(tmp_path / "model_best.pth.tar", state)
    student, back = back_and_forth(path, tmp_path, "module.net3d.")
    assert student.config == StudentConfig("MinkUNet18A", out_dim=512)
    assert_same(back, {"module.net3d." + n: array for n, array in state.items()})


def test_torch_reads_what_is_exported_and_writes_what_is_imported(tmp_path):
    torch = pytest.importorskip("torch")
    state = state_of(StudentConfig("MinkUNet14A", out_dim=512))
    tensors = {f"net3d.{n}": torch.from_numpy(np.array(a)) for n, a in state.items()}
    path = tmp_path / "model.pth.tar"
    torch.save({"epoch": 3, "state_dict": tensors, "best_iou": np.float64(0.5)}, path)
    _, back = back_and_forth(path, tmp_path, "net3d.")
    assert_same(back, {name: tensor.numpy() for name, tensor in tensors.items()})
    theirs = torch.load(tmp_path / "back.pth.tar", weights_only=True)
    assert all(torch.equal(theirs["state_dict"][n], t) for n, t in tensors.items())


@pytest.fixture
def small():
    return state_of(StudentConfig("MinkUNet14A", out_dim=512))


def fail(tmp_path, state, match):
    path = checkpoint(tmp_path / "model.pth.tar", state)
    with pytest.raises(InputError, match=rf"(?s){match}.*model\.pth\.tar"):
        read_checkpoint(path, 0.02, PUBLISHED)


def test_missing_and_unexpected_arrays_are_named(tmp_path, small):
    del small["block5.0.conv1.kernel"], small["bn2.bn.running_var"]
    small["block3.4.conv1.kernel"] = np.zeros((27, 128, 128), np.float32)
    said = r"missing: .*block5\.0\.conv1\.kernel .*bn2\.bn\.running_var \[32\].*"
    fail(tmp_path, small, said + r"unexpected: block3\.4\.conv1\.kernel")


def test_other_files_are_refused(tmp_path, small):
    fail(tmp_path, {**small, "bn1.bn.bias": np.zeros(5, np.float32)}, "other shape")
    fail(tmp_path, {**small, "bn1.bn.num_batches_tracked": np.array(3)}, r"\[3, 77\]")
    closed = {**small, "final.kernel": np.zeros((96, 20), np.float32)}
    fail(tmp_path, closed, "512 or 768 channels, got 20")
    fail(tmp_path, {**small, "epoch": 3}, "an array under every name.*epoch")
    del small["final.kernel"]
    fail(tmp_path, small, "a MinkUNet is required.*got none of final.kernel")
    fail(tmp_path, {}, "a dict with the arrays")
    twice = {"bn0.bn.bias": np.zeros(3, "f4"), "net3d.bn0.bn.bias": np.zeros(3, "f4")}
    path = tmp_path / "twice.pth"
    write_torch(path, {"state_dict": twice})
    with pytest.raises(InputError, match="every array once"):
        read_checkpoint(path, 0.02, PUBLISHED)
