"""Seeded mutations of bytes: flips, sizes that lie, parts cut, doubled or moved."""

import gzip
import io
import re
import struct
import zipfile
import zlib

_INTEGERS = (0, 1, 2, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_LONG = (*_INTEGERS, 2**48, 2**63 - 1, 2**63, 2**64 - 1)
_WORDS = (
    *b"0 -1 1 nan inf -inf 1e999 99999999999999999999 4294967296 1e-320".split(),
    *(b"", b"\xff\xfe", b"\0", b"null", b"{}", b"[[[[", b'"', b"../../x", b"9" * 5000),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?", re.IGNORECASE)


def mutated(data, random):
    """Return one to three mutations of bytes, inside of a container where it is one."""
    if random.random() < 0.5:
        if data[:2] == b"\x1f\x8b":
            try:
                return gzip.compress(_several(gzip.decompress(data), random), mtime=0)
            except (OSError, EOFError, zlib.error):
                pass
        if data[:2] == b"PK":
            return _zip(data, random)
    return _several(data, random)


def _zip(data, random):
    """Mutate one member and write the archive anew, so that its checksums are right."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        chosen = random.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, _several(content, random) if name == chosen else content)
    return written.getvalue()


def _several(data, random):
    for _ in range(random.randint(1, 3)):
        data = random.choice(_WAYS)(bytearray(data), random)
    return bytes(data)


def _flip(data, random):
    for _ in range(random.randint(1, 4) if data else 0):
        data[_place(data, random)] ^= 1 << random.randrange(8)
    return data


def _integer(data, random):
    code = random.choice("BHIQ")
    size = struct.calcsize(code)
    if len(data) >= size:
        at = min(_place(data, random), len(data) - size)
        value = random.choice(_LONG) & (256**size - 1)
        data[at : at + size] = struct.pack(random.choice("<>") + code, value)
    return data


def _cut(data, random):
    return data[: random.randint(0, len(data))]


def _doubled(data, random):
    begin, end = sorted(random.randint(0, len(data)) for _ in range(2))
    end = min(end, begin + 2000)
    return data[:end] + data[begin:end] * random.choice((1, 1, 20)) + data[end:]


def _gone(data, random):
    begin = random.randint(0, len(data))
    return data[:begin] + data[begin + random.randint(1, 40) :]


def _noise(data, random):
    at = random.randint(0, len(data))
    return data[:at] + random.randbytes(random.randint(1, 20)) + data[at:]


def _number(data, random):
    found = list(_NUMBER.finditer(data, 0, 20_000))
    if not found:
        return _integer(data, random)
    match = random.choice(found)
    return data[: match.start()] + random.choice(_WORDS) + data[match.end() :]


def _place(data, random):
    """Return an index, most often one of the header's."""
    return random.randrange(min(len(data), 200) if random.random() < 0.7 else len(data))


_WAYS = (_flip, _integer, _integer, _cut, _doubled, _gone, _noise, _number, _number)
