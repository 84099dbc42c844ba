"""Files of torch.save without torch: the same bits, or a refusal."""

import collections
import contextlib
import io
import os
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sas_jax.artefacts import torch_pickle
from sas_jax.artefacts.torch_files import read_torch
from sas_jax.artefacts.torch_write import write_torch
from sas_jax.errors import InputError

torch = pytest.importorskip("torch")


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def saved(request, tmp_path):
    """Return a function that saves with torch and reads without it."""

    def save_and_read(item, **how):
        path = tmp_path / "file.pt"
        torch.save(item, path, _use_new_zipfile_serialization=request.param, **how)
        return read_torch(path)

    return save_and_read


def zipped(path, pickled, storages=(), **how):
    """Write an archive as torch.save lays it out, of any content."""
    with zipfile.ZipFile(path, "w", **how) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for index, content in enumerate(storages):
            archive.writestr(f"archive/data/{index}", content)
        archive.writestr("archive/version", "3\n")
    return path


def same(ours, theirs):
    theirs = theirs.numpy() if isinstance(theirs, torch.Tensor) else theirs
    return (
        ours.dtype == theirs.dtype
        and ours.shape == theirs.shape
        and ours.tobytes() == theirs.tobytes()
    )


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float16, torch.float32, torch.float64, torch.bool),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    ],
)
def test_tensors_keep_every_bit(saved, dtype):
    random = torch.randint(0, 256, (6, 5, 16), dtype=torch.uint8)
    tensor = (random > 99) if dtype == torch.bool else random.view(dtype)
    views = [tensor, tensor[1:4, ::2].transpose(0, 2), tensor[:0], tensor[2, 3, 0]]
    for ours, theirs in zip(saved(views), views, strict=True):
        assert same(ours, theirs.contiguous())
        assert ours.flags.owndata or not ours.flags.writeable


def test_bfloat16_becomes_the_same_float32(saved):
    tensor = torch.randint(-(2**15), 2**15, (7, 9), dtype=torch.int16)
    tensor = tensor.view(torch.bfloat16)
    assert same(saved(tensor), tensor.float())


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float64).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.arange(5, dtype=">i4"),
        np.array([True, False, True]),
        np.zeros((0, 3), np.float16),
        np.array(7, np.int64),
        np.arange(256, dtype=np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_keep_every_bit(tmp_path, array, protocol):
    torch.save((array, array), tmp_path / "file.pth", pickle_protocol=protocol)
    first, second = read_torch(tmp_path / "file.pth")
    assert same(first, array.astype(array.dtype.newbyteorder("=")))
    assert second.tobytes() == first.tobytes()


def test_containers_and_numbers(saved):
    item = {
        "epoch": 12,
        "large": 2**70,
        "best_iou": np.float64(0.54),
        "none": [None, True, False, -1.5, "text é", b"\0\xff"],
        "size": torch.Size([2, 3]),
        "nested": collections.OrderedDict([("a", (1, [2, {}])), ("b", ())]),
        3: "a number as a key",
    }
    ours = saved(item)
    assert ours == item and type(ours["nested"]) is dict


def test_a_checkpoint_of_a_module_and_its_optimiser(saved):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimiser = torch.optim.Adam(module.parameters())
    module(torch.randn(5, 3)).sum().backward()
    optimiser.step()
    state = module.state_dict()
    ours = saved({"state_dict": state, "optimizer": optimiser.state_dict()})
    assert list(ours["state_dict"]) == list(state)
    assert all(same(ours["state_dict"][name], state[name]) for name in state)
    moments = optimiser.state_dict()["state"][0]["exp_avg"]
    assert same(ours["optimizer"]["state"][0]["exp_avg"], moments)
    shared = saved([module[0].weight, module[0].weight.data])
    assert shared[0].tobytes() == shared[1].tobytes()


def test_points_as_openscene_saves_them(saved):
    rng = np.random.default_rng(0)
    coords, colors = rng.random((9, 3)), rng.random((9, 3), np.float32)
    for item in ((coords, colors, np.full(9, 255.0)), (coords, 0, np.arange(9))):
        for ours, theirs in zip(saved(item), item, strict=True):
            assert np.array_equal(ours, theirs) and type(ours) is type(theirs)


ARRAYS = {
    name: (np.arange(12).reshape(3, 4) % 7).astype(name)
    for name in ("f2", "f4", "f8", "u1", "i1", "i2", "i4", "i8", "?", ">f4")
}


def test_what_is_written_is_read_by_torch(tmp_path):
    extra = {"t": ARRAYS["f4"].T, "empty": np.zeros((0, 3), "f2"), "one": np.array(3)}
    data = {**ARRAYS, **extra, "epoch": -5, "iou": 0.25, "none": None, "name": "é"}
    data["deep"] = {"flag": True, "x": ARRAYS["f8"]}
    write_torch(tmp_path / "file.pt", data)
    theirs = torch.load(tmp_path / "file.pt", weights_only=True)
    ours = read_torch(tmp_path / "file.pt")
    assert list(theirs) == list(ours) == list(data)
    for name, value in data.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(theirs[name].numpy(), value)
            assert same(ours[name], theirs[name].contiguous())
        elif name != "deep":
            assert theirs[name] == ours[name] == value
    assert theirs["deep"]["flag"] is True and torch.equal(
        theirs["deep"]["x"], torch.from_numpy(ARRAYS["f8"])
    )
    again = tmp_path / "again.pt"
    write_torch(again, data)
    assert again.read_bytes() == (tmp_path / "file.pt").read_bytes()


class Touch:
    """Would leave a file behind if it were unpickled as Python does it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class Plain:
    pass


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (Plain(), "Plain"),
        (os.system, "system"),
        (eval, "eval"),
        (collections.Counter("ab"), "Counter"),
        ({1, 2}, "(?i:set)"),
        (np.array([Plain()]), "array of O8"),
        (np.array(["text"]), "array of"),
        (np.array([1j]), "array of c16"),
        (1j, "complex"),
        (torch.nn.Linear(1, 1), "Linear"),
        ({(1, 2): 3}, "key of type tuple"),
        (torch.zeros(2).to_sparse(), "sparse"),
        ({2**61: 1}, "key of type int"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_everything_else_is_refused_by_name(tmp_path, item, name, protocol):
    torch.save([item], tmp_path / "file.pt", pickle_protocol=protocol)
    with pytest.raises(InputError, match=rf"(?s){name}.*Nothing of the file was run"):
        read_torch(tmp_path / "file.pt")


@pytest.mark.parametrize("new", [True, False])
def test_nothing_is_ever_run(tmp_path, new):
    witness, path = tmp_path / "witness", tmp_path / "file.pt"
    item = {"state_dict": torch.zeros(3), "evil": Touch(witness)}
    torch.save(item, path, _use_new_zipfile_serialization=new)
    with pytest.raises(InputError, match=r"io\.open|builtin"):
        read_torch(path)
    assert not witness.exists()
    path.write_bytes(pickle.dumps(Touch(witness), 2))
    with pytest.raises(InputError):
        read_torch(path)
    assert not witness.exists()


def tensor_of(size, stride, count=4, offset=0):
    """Return the pickle of a float tensor, true or not."""

    def number(n):
        return b"\x8a\x08" + struct.pack("<q", n)

    def numbers(several):
        return b"(" + b"".join(map(number, several)) + b"t"

    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage"
        b"ctorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
        + number(count)
        + b"tQ"
        + number(offset)
        + numbers(size)
        + numbers(stride)
        + b"\x89ccollections\nOrderedDict\n)RtR."
    )


def test_a_tensor_of_its_storage_is_read(tmp_path):
    zipped(tmp_path / "file", tensor_of([2, 2], [1, 2]), [np.arange(4, dtype="f4")])
    assert read_torch(tmp_path / "file").tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    "pickled",
    [
        tensor_of([5], [1]),
        tensor_of([4], [1], offset=1),
        tensor_of([2, 2], [2, 2]),
        tensor_of([4], [-1], offset=3),
        tensor_of([4], [1], offset=-1),
        tensor_of([-1], [1]),
        tensor_of([2**40], [0]),
        tensor_of([2**31, 2**31], [0, 0]),
        tensor_of([4], [2**62]),
        tensor_of([4], [1], count=9),
        tensor_of([4], [1], count=-1),
        tensor_of([4], [1, 1]),
        tensor_of([1] * 70, [1] * 70),
        b"\x80\x02.",
        b"\x80\x02",
        b"",
        b"\x80\x02(.",
        b"\x80\x02N",
        b"\x80\x02h\x05.",
        b"\x80\x02]a.",
        b"\x80\x02]}u.",
        b"\x80\x02NbN.",
        b"\x80\x02c__builtin__\nbytes\nI4\n\x85R.",
        b"\x80\x02\x82\x01.",  # a name of the extension registry
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02r\xff\xff\xff\xff.",  # a memo of four thousand million
        b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x06\0\0\0latin1\x86" + b"2R." * 2,
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
        b"\x80\x02X\x04\0\0\0\xff\xff\xff\xff.",
    ],
)
def test_hostile_pickles_are_refused(tmp_path, pickled):
    path = zipped(tmp_path / "file", pickled, [np.zeros(4, np.float32).tobytes()])
    with pytest.raises(InputError, match=r"torch file: .*file\)"):
        read_torch(path)


def test_memory_is_bounded(tmp_path, monkeypatch):
    text = b"X" + struct.pack("<I", 10**5) + b"a" * 10**5 + b"q\x00"
    copy = b"c_codecs\nencode\nh\x00X\x06\0\0\0latin1\x86R"
    path = zipped(tmp_path / "copies", b"\x80\x02]" + text + copy * 50 + b".")
    with pytest.raises(InputError, match="more bytes than the file has"):
        read_torch(path)
    path = zipped(
        tmp_path / "packed",
        tensor_of([4], [1]),
        [np.zeros(10**6, np.float32).tobytes()],
        compression=zipfile.ZIP_DEFLATED,
    )
    with pytest.raises(InputError, match="compressed"):
        read_torch(path)
    monkeypatch.setattr(torch_pickle, "MAX_OPERATIONS", 1000)
    path = zipped(tmp_path / "many", b"\x80\x02(" + b"]" * 2000 + b"t.")
    with pytest.raises(InputError, match="more than 1,000 operations"):
        read_torch(path)


def test_a_dictionary_that_pickle_wrote(tmp_path):
    path = tmp_path / "file.pkl"
    wanted = {
        "array": np.arange(6, dtype=np.float16).reshape(2, 3),
        "tensor": torch.arange(4.0)[1:],
        "brain": torch.ones(3, dtype=torch.bfloat16),
        "number": np.array(7),
    }
    path.write_bytes(pickle.dumps(wanted, protocol=4))
    found = read_torch(path)
    assert {name: (v.dtype.str, v.tolist()) for name, v in found.items()} == {
        "array": ("<f2", [[0, 1, 2], [3, 4, 5]]),
        "tensor": ("<f4", [1, 2, 3]),
        "brain": ("<f4", [1, 1, 1]),
        "number": ("<i8", 7),
    }


def test_files_within_a_pickle_are_read_once_and_one_deep(tmp_path):
    path, name = tmp_path / "file.pkl", b"ctorch.storage\n_load_from_bytes\n"
    stored = io.BytesIO()
    torch.save(torch.zeros(9999), stored, _use_new_zipfile_serialization=False)
    data = stored.getvalue()

    def holding(part, times=1):
        literal = b"B" + struct.pack("<I", len(part)) + part + b"q\0"
        return b"\x80\x02](" + literal + (name + b"h\0\x85R") * times + b"e."

    path.write_bytes(holding(data, times=50))
    with pytest.raises(InputError, match="more bytes than the file has"):
        read_torch(path)
    path.write_bytes(holding(holding(data)))
    with pytest.raises(InputError, match=r"torch file: .*file\.pkl\)"):
        read_torch(path)


@pytest.mark.parametrize("new", [True, False])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, new):
    path = tmp_path / "file.pt"
    item = {"feat": torch.randn(20, 4).half(), "mask_full": torch.ones(30).bool()}
    torch.save(item, path, _use_new_zipfile_serialization=new)
    data = path.read_bytes()
    for end in {*range(0, len(data) - 1, 7), len(data) - 1}:
        path.write_bytes(data[:end])
        with pytest.raises(InputError, match=r"torch file: .*file\.pt\)"):
            read_torch(path)


def test_a_changed_bit_of_a_tensor_is_noticed(tmp_path):
    path = tmp_path / "file.pt"
    torch.save(torch.full((50,), 1.5), path)
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<2f", 1.5, 1.5)) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="CRC"):
        read_torch(path)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"text", b"PK\5\6" + b"\0" * 18, b"\x80\x02]."]
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"file\.pt\)"):
        read_torch(path)
    with pytest.raises(InputError, match="got none"):
        read_torch(tmp_path / "absent.pt")
    with pytest.raises(InputError):
        read_torch(tmp_path)


def _example(new: bool) -> bytes:
    file = io.BytesIO()
    item = ({"a": torch.arange(6.0)}, np.arange(5), torch.ones(3, dtype=torch.bool))
    torch.save(item, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


OPERATIONS = [op.code.encode("latin1") for op in pickletools.opcodes]


@settings(max_examples=300, deadline=None)
@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=12),
)
def test_changed_bytes_are_read_or_refused(tmp_path_factory, new, changes):
    data = bytearray(_example(new))
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.pt"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_torch(path)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(OPERATIONS), st.binary(max_size=9)), max_size=40)
)
def test_random_pickles_are_read_or_refused(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "pickles.pt"
    zipped(path, b"\x80\x02" + b"".join(parts) + b".", [b"\0" * 16])
    with contextlib.suppress(InputError):
        read_torch(path)


@pytest.mark.parametrize("what", ["pipe", "device"])
def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path, what):
    path = tmp_path / "a.pt"
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="a pipe or a device"):
        read_torch(path)
