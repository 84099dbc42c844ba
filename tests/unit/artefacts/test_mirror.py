"""A workspace goes to object storage and comes back, whole or not at all."""

import uuid

import numpy as np
import pytest

from sas_jax.artefacts import files
from sas_jax.artefacts.mirror import Mirror
from sas_jax.errors import InputError

obstore = pytest.importorskip("obstore", reason="needs the extra [cloud]")


@pytest.fixture(params=["folder", "s3"])
def url(request, tmp_path, monkeypatch):
    """Give an address: a folder, or a bucket of a server that speaks S3."""
    if request.param == "folder":
        yield f"file://{tmp_path}/far"
        return
    server = pytest.importorskip("moto.server", reason="needs moto and flask")
    boto3 = pytest.importorskip("boto3", reason="needs moto and flask")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    endpoint = "http://{}:{}".format(*running.get_host_and_port())
    access = {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "secret"}
    access |= {"AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true"}
    for name, value in (access | {"AWS_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    bucket = uuid.uuid4().hex  # the server keeps what other tests put
    client.create_bucket(Bucket=bucket)
    yield f"s3://{bucket}/rooms"
    running.stop()


def fill(root):
    """Write features of two scenes, a checkpoint and what is in the making."""
    for name in "ab":
        path = root / f"features/lseg/{name}.safetensors"
        feat = np.arange(6, dtype=np.float16) + ord(name)
        files.write_tensors(path, {"feat": feat}, key=name, schema="s/1")
    made = {
        "train/run/checkpoints/3/state/d/part": b"weights",
        "train/run/checkpoints/4.orbax-checkpoint-tmp-9/part": b"half",
        "features/lseg/.claims/c": b"mine",
        "features/lseg/.c.safetensors.x.tmp": b"half",
        "empty": b"",
    }
    for name, data in made.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def seen(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name[0] != "."
    }


def test_what_is_pushed_is_pulled_to_the_same_bytes_once(tmp_path, url):
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here)
    names = []
    pushed = Mirror(here, url).push(progress=names.append)
    assert (pushed.files, pushed.current) == (6, 0) and len(names) == 6
    data = here / "features/lseg/a.safetensors"
    assert names.index("features/lseg/a.safetensors") < names.index(
        "features/lseg/a.safetensors.json"
    )
    pulled = Mirror(there, url).pull()
    assert pulled.files == 6 and pulled.bytes == pushed.bytes > 0
    unfinished = "train/run/checkpoints/4.orbax-checkpoint-tmp-9/part"
    left = {name: data for name, data in seen(here).items() if name != unfinished}
    assert seen(there) == {n: d for n, d in left.items() if ".claims" not in n}
    assert files.is_current(there / data.relative_to(here), "a", verify=True)
    again = Mirror(here, url).push(), Mirror(there, url).pull()
    assert [(one.files, one.current) for one in again] == [(0, 6), (0, 6)]


def test_a_part_is_pulled_and_what_changed_is_pushed(tmp_path, url):
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here)
    Mirror(here, url).push()
    assert Mirror(there, url).pull(["train/run"]).files == 1
    assert set(seen(there)) == {"train/run/checkpoints/3/state/d/part"}
    (here / "empty").write_bytes(b"no longer")
    assert Mirror(here, url).push(["emp"]).files == 0  # a name, not its beginning
    assert Mirror(here, url).push().files == 1
    Mirror(there, url).pull(["empty"])
    assert (there / "empty").read_bytes() == b"no longer"


def test_what_was_cut_short_is_not_taken(tmp_path, url):
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here)
    Mirror(here, url).push()
    store = obstore.store.from_url(url)
    obstore.put(store, "empty", b"others' bytes")
    with pytest.raises(InputError, match=r"SHA-256 .* got others \(.*/empty\)"):
        Mirror(there, url).pull()
    assert not (there / "empty").exists()
    obstore.delete(store, "empty.sha256")
    assert Mirror(there, url).pull().files + len(seen(there)) >= 5
    assert not (there / "empty").exists()
    assert Mirror(here, url).push().files == 1  # what has no sum is put again
    assert Mirror(there, url).pull().files == 1


def test_a_file_that_changes_all_the_time_is_not_finished(tmp_path, url, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    fill(here)
    put = obstore.put

    def changes(store, name, data):
        if name == "empty":
            (here / "empty").write_bytes((here / "empty").read_bytes() + b"x")
        return put(store, name, data)

    monkeypatch.setattr(obstore, "put", changes)
    mirror = Mirror(here, url)
    done = mirror.push()
    assert (done.moving, done.files) == (1, 5)
    Mirror(there, url).pull()
    assert not (there / "empty").exists() and len(seen(there)) == 5
    monkeypatch.undo()
    done = mirror.push()
    assert (done.moving, done.files, done.current) == (0, 1, 5)


def test_a_checkpoint_is_committed_last_and_may_go_meanwhile(
    tmp_path, url, monkeypatch
):
    here = tmp_path / "here"
    step = here / "train/run/checkpoints/7"
    for name in ("_CHECKPOINT_METADATA", "state/part", "text/part"):
        (step / name).parent.mkdir(parents=True, exist_ok=True)
        (step / name).write_bytes(b"x")
    order, put = [], obstore.put

    def puts(store, name, data):
        order.append(name)
        (step / "text/part").unlink(missing_ok=True)
        return put(store, name, data)

    monkeypatch.setattr(obstore, "put", puts)
    done = Mirror(here, url, at_once=1).push()
    assert (done.files, done.current) == (2, 1)
    assert order[-2:] == [
        f"train/run/checkpoints/7/_CHECKPOINT_METADATA{end}" for end in ("", ".sha256")
    ]


def test_what_has_not_changed_is_not_read_again(tmp_path, url, monkeypatch):
    here = tmp_path / "here"
    fill(here)
    mirror = Mirror(here, url)
    mirror.push()
    monkeypatch.setattr("sas_jax.artefacts.mirror.sha256_file", None)
    assert mirror.push().current == 6
    (here / "empty").write_bytes(b"new")
    with pytest.raises(TypeError):
        mirror.push()


@pytest.mark.parametrize(
    "address", ["nowhere", "ftp://host/x", "file:///proc/nobody/is/here"]
)
def test_addresses_that_are_none(tmp_path, address):
    fill(tmp_path / "here")
    with pytest.raises(InputError, match=r"mirror: object storage that answers"):
        Mirror(tmp_path / "here", address).push()
