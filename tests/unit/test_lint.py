"""The checks before a commit are those of `make lint`."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_hooks_run_what_make_lint_runs():
    recipe = re.search(
        r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )[1]
    commands = [line.split(" $(")[0] for line in recipe.splitlines()]
    hooks = re.findall(
        r"^ +entry: (.*)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.MULTILINE
    )
    assert len(hooks) == 4
    assert sorted(f"\t$(VENV)/bin/{hook}" for hook in hooks) == sorted(commands)
