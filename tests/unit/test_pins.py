"""The demo's hashes are of the versions that everything is tested with."""

import re


def test_hashes_are_of_the_locked_versions(root):
    locked = dict(
        line.lower().split("==")
        for line in (root / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    text = (root / "requirements-demo.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"(\S+)==(\S+) --hash=sha256:[0-9a-f]{64}", x) for x in lines]
    assert len(lines) > 50 and all(found)

    def plain(name):
        return re.sub("[-_.]+", "-", name.lower())

    locked = {plain(name): version for name, version in locked.items()}
    wrong = {m[1] for m in found if locked.get(plain(m[1])) != m[2]}
    assert not wrong
    assert "://" not in text and {"jax", "numpy"} <= {m[1] for m in found}
