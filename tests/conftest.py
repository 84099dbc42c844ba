"""Settings of every test: strict JAX, warnings as errors, fixed locations."""

import importlib.util
import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

try:
    import hypothesis
except ImportError:  # a GPU machine runs the tests without it
    pass
else:
    # First calls import and compile, and machines are busy: time is no property.
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    """Tests with published weights run where they are asked for."""
    parser.addoption(
        "--weights",
        action="store_true",
        help="run every model whose published weights are on this machine",
    )


def pytest_configure(config):
    """Turn silent promotions into errors, where JAX is installed."""
    try:
        import jax
    except ImportError:
        return
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_runtest_logreport(report):
    """Say at once why a test failed: a run that is cut off never comes to its summary.

    Only where asked for, by SAS_JAX_TELL_AT_ONCE.
    """
    if report.failed and os.environ.get("SAS_JAX_TELL_AT_ONCE"):
        print(f"\n{report.nodeid} failed:\n{report.longreprtext[-1500:]}", flush=True)


def _golden_folder() -> pathlib.Path | None:
    named = os.environ.get("SAS_JAX_GOLDEN")
    if named:  # not elsewhere, so that a wrong name is seen
        return pathlib.Path(named)
    for folder in (
        ROOT.parent / "shared" / "golden",
        ROOT / "tests" / "golden" / "data",
    ):
        if folder.is_dir():
            return folder
    return None


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """Folder with outputs of the original networks; skips where it is absent."""
    folder = _golden_folder()
    if folder is None:
        pytest.skip(
            "the golden outputs of the original networks are not on this machine"
        )
    return folder


@pytest.fixture(scope="session")
def small_golden() -> pathlib.Path:
    """Folder with those of them that are small enough to lie in the repository."""
    return ROOT / "tests" / "golden" / "small"


@pytest.fixture(scope="session")
def gaussians_golden(small_golden) -> pathlib.Path:
    """Golden Gaussians: all of them where they are, else the small ones."""
    folder = _golden_folder()
    full = None if folder is None else folder / "gaussians"
    return full if full and full.is_dir() else small_golden / "gaussians"


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """Root folder of the repository."""
    return ROOT


@pytest.fixture
def setup_script(root, monkeypatch):
    """setup.py as a module, without setting anything up."""
    import setuptools

    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    spec = importlib.util.spec_from_file_location("sas_jax_setup", root / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
