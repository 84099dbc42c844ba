"""Students that come with the package, by name: a new one is a file and a line here."""

import pathlib

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent

STUDENTS: dict[str, str] = {
    "rooms": "rooms/student/rooms_student.safetensors",
}
"""Name -> file in the package; its card says what it was trained on."""


def find(name: str) -> pathlib.Path | None:
    """Return the file of a student of the package, None for other names."""
    return _PACKAGE / STUDENTS[name] if name in STUDENTS else None
