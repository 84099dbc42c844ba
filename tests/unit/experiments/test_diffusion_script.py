"""measure_capability.py with folders of Stable Diffusion and SAM, no network."""

import json
import os
import subprocess
import sys

import pytest

from sas_jax.artefacts.files import read_json
from sas_jax.capability import store
from sas_jax.classes import vocabulary

pytest.importorskip("torch")

NAMES = vocabulary("indoor").names


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of tiny random networks, as diffusers and transformers write them."""
    from tiny_diffusion import tiny_pipeline
    from tiny_sam import tiny_sam, tiny_sam2

    folder = tmp_path_factory.mktemp("weights")
    tiny_pipeline().save_pretrained(folder / "stable-diffusion")
    for part in tiny_sam():
        part.save_pretrained(folder / "sam")
    tiny_sam2().save_pretrained(folder / "sam2")
    return folder


@pytest.fixture
def measure(root, folders, tmp_path):
    def run(*more, **env):
        flags = {
            "workspace": tmp_path / "run",
            "teachers": "rooms-dense",
            "synthesizer": "stable-diffusion",
            "point_prompter": "sam",
            "images_per_class": 2,
            "diffusion_px": 64,
            "diffusion_steps": 1,
            "teacher_px": 0,
            "threads": 1,
        }
        script = root / "experiments" / "measure_capability.py"
        said = [f"--{name}={value}" for name, value in flags.items()]
        return subprocess.run(
            [sys.executable, str(script), *said, *more],
            env={**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1", **env},
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


def facts_of(folder):
    path = store.table_path(folder, "rooms-dense")
    return read_json(path, schema=store.TABLE_SCHEMA)["facts"]


def test_a_table_is_measured_and_every_flag_arrives(measure, folders, tmp_path):
    done = measure(
        f"--diffusion_weights={folders}/stable-diffusion",
        f"--sam_weights={folders}/sam2",
        "--point_prompter=sam2",
        "--diffusion_scheduler=ddim",
        "--guidance=3.5",
        "--attention_threshold=0.6",
        "--capability_seed=7",
        "--compat=official",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    folder = tmp_path / "run/capability"
    facts = facts_of(folder)
    painted = facts["synthesizer"]["config"]
    assert painted == {
        **{"steps": 1, "guidance": 3.5, "image_size": 64, "scheduler": "ddim"},
        **{"batch": 1, "device": "", "dtype": "float32"},
    }
    assert facts["synthesizer"]["sampler"] == "DDIMScheduler"
    assert facts["prompter"]["model"] == "sam2"
    assert facts["masks"]["threshold"] == 0.6
    assert facts["config"]["seed"] == 7 and facts["config"]["images_per_class"] == 2
    measured = [name for name in NAMES if name != "other"]
    for name in measured:
        entry = store.read_images(folder, name)
        assert entry.prompt == f"a good photo of a {name} in a room"
        assert entry.images.shape == (2, 64, 64, 3)
        assert (entry.coarse == (entry.attention > 0.6)).all()
    assert not list((folder / "images").glob("*/"))
    data = json.loads(store.table_path(folder, "rooms-dense").read_text())["data"]
    assert set(data["measured"]) == set(measured)


def test_weights_are_found_where_the_variable_says(measure, folders, tmp_path):
    done = measure("--images_per_class=1", SAS_JAX_WEIGHTS=str(folders))
    assert done.returncode == 0, done.stderr[-2000:]
    folder = tmp_path / "run/capability"
    facts = facts_of(folder)
    assert facts["synthesizer"]["sampler"] == "PNDMScheduler"
    assert facts["masks"]["threshold"] == 0.7
    entry = store.read_images(folder, "shower curtain")
    assert entry.prompt == "a good photo of a shower curtain"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--diffusion_weights=/nowhere", "stable-diffusion needs"),
        ("--diffusion_scheduler=heun", "pndm|ddim|dpm|euler"),
        ("--diffusion_steps=0", "diffusion_steps"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_line(measure, flag, message):
    done = measure(flag)
    assert done.returncode == 1
    assert message.split("|")[0] in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
