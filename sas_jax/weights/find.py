"""Where the files of a model lie on this machine.

In this order: the path that the user gives, `$SAS_JAX_WEIGHTS/<model>` and
`$SAS_JAX_WEIGHTS`, the folder `weights/<model>` of the user's cache, the Python package
that holds it, the cache of the Hugging Face hub. With `download`, and only then, what
is published under a plain address or on the hub is fetched.
"""

import http.client
import importlib.util
import os
import pathlib
import re
import urllib.request
from collections.abc import Iterator

from tqdm import tqdm

from sas_jax.artefacts.cache import cache_folder
from sas_jax.artefacts.files import atomic_path, sha256_file
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.extras import PIP
from sas_jax.weights.cards import Card, WeightsFile, card, cards

VARIABLE = "SAS_JAX_WEIGHTS"
"""Names the folder of everybody's weights."""

_RANDOM = "random:"
_SEED = re.compile(r"[0-9]{1,9}")
_CHUNK = 1 << 20
_PATIENCE_SECONDS = 60
# What transformers and diffusers write beside weights.
_SETTINGS = ("config.json", "model_index.json")


def seed_of(weights: str | None) -> int | None:
    """Return the seed of `random:<seed>`, None for what does not begin so.

    Raises:
      InputError: for `random:` and no whole number from 0 to 999999999. PyTorch's
        generators take no longer ones, or take several for the same.
    """
    if weights is None or not weights.startswith(_RANDOM):
        return None
    seed = weights.removeprefix(_RANDOM)
    if not _SEED.fullmatch(seed):
        raise InputError(
            "weights: random: and a whole number of at most 9 digits is required, got "
            f"{weights[:80]}. Smoke tests take random:0."
        )
    return int(seed)


def find_file(
    model: str, name: str, given: str | None = None, *, download: bool = False
) -> pathlib.Path:
    """Return where a file of a model lies.

    Args:
      model: name of its card.
      name: of a file on that card.
      given: path that the user said: the file itself (of a model with several, the
        first; the others may lie beside it), or the folder of all.
      download: fetch it if it is nowhere.

    Raises:
      WeightsMissing: where it is not, with all places looked at and where to get it.
      InputError: for a file that was fetched and is not the published one.
    """
    described = _card(model)
    part = described.file(name)
    if found := _file(described, part, given):
        return found
    if given is None and download and (part.download or part.hub):
        return _fetch(model, part)
    raise _missing(described, part, given, download)


def find_folder(
    model: str, given: str | None = None, *, download: bool = False
) -> pathlib.Path:
    """Return the folder of a model that transformers or diffusers wrote.

    Args:
      model: name of its card, which lists a folder of the hub.
      given: folder, or name of a repository of the hub.
      download: fetch it if it is nowhere.

    Raises:
      WeightsMissing: where it is not.
    """
    described = _card(model)
    part = described.file("*")
    if found := _folder(described, part, given):
        return found
    repository = part.hub if given is None else given
    if (
        download
        and repository.count("/") == 1
        and not (given and pathlib.Path(given).exists())
    ):
        return _fetch_folder(repository)
    raise _missing(described, part, given, download)


def found_files(model: str, given: str | None = None) -> list[pathlib.Path] | None:
    """Return the files and folders of a model, None where one that it needs is absent.

    Empty for a model whose weights come with the package, or that has no card.
    """
    described = card(model)
    found: list[pathlib.Path] = []
    if described is None:
        return found
    for part in described.files:
        look = _folder if part.is_folder else _file
        path = look(described, part, given)
        if path is not None:
            found.append(path)
        elif not part.optional:
            return None
    return found


def require_files(model: str, given: str | None = None) -> None:
    """Raise WeightsMissing, as `find_file` does, for a file that a model needs."""
    described = card(model)
    for part in described.files if described else ():
        if part.is_folder:
            find_folder(model, given)
        elif not part.optional:
            find_file(model, part.name, given)


def _card(model: str) -> Card:
    found = card(model)
    if found is None or not found.files:
        raise InputError(
            f"weights: a model with files of its own is required, got {model}. "
            "Describe its files in sas_jax/weights/cards."
        )
    return found


def _file(described: Card, part: WeightsFile, given: str | None) -> pathlib.Path | None:
    first = part is described.files[0]
    if given is not None:
        if found := _at(pathlib.Path(given), part.name, first):
            return found
        if first or not pathlib.Path(given).exists():
            return None
    for folder in _folders(described.name):
        if (folder / part.name).is_file():
            return folder / part.name
    if part.package and (found := _in_package(part)):
        return found
    return _kept_by_hub(part.hub, part.name) if part.hub else None


def _folder(
    described: Card, part: WeightsFile, given: str | None
) -> pathlib.Path | None:
    if given is not None and part is not described.files[0]:
        # What was given is the first part; this one may lie in the same folder.
        given = given if _is_model(pathlib.Path(given)) else None
    if given is None:
        for folder in _folders(described.name):
            if _is_model(folder):
                return folder
    elif pathlib.Path(given).exists():
        return pathlib.Path(given) if _is_model(pathlib.Path(given)) else None
    repository = part.hub if given is None else given
    return _kept_repository(repository) if repository.count("/") == 1 else None


def _at(path: pathlib.Path, name: str, first: bool) -> pathlib.Path | None:
    if path.is_dir():
        return path / name if (path / name).is_file() else None
    if not path.is_file():
        return None
    if first or path.name == name:
        return path
    return path.with_name(name) if path.with_name(name).is_file() else None


def _folders(model: str) -> Iterator[pathlib.Path]:
    if everybody := os.environ.get(VARIABLE):
        yield pathlib.Path(everybody) / model
        yield pathlib.Path(everybody)
    yield cache_folder() / "weights" / model


def _in_package(part: WeightsFile) -> pathlib.Path | None:
    """Return a file of an installed package, which is located and never imported."""
    module = part.package.partition("==")[0].replace("-", "_")
    spec = importlib.util.find_spec(module)
    places = spec.submodule_search_locations if spec else None
    folders = [pathlib.Path(place) for place in places or ()]
    return next((f for folder in folders for f in folder.rglob(part.name)), None)


def _is_model(folder: pathlib.Path) -> bool:
    return any((folder / name).is_file() for name in _SETTINGS)


def _kept_by_hub(repository: str, name: str) -> pathlib.Path | None:
    try:
        import huggingface_hub
    except ImportError:
        return None
    found = huggingface_hub.try_to_load_from_cache(repository, name)
    return pathlib.Path(found) if isinstance(found, str) else None


def _kept_repository(repository: str) -> pathlib.Path | None:
    try:
        import huggingface_hub

        # Without the argument the hub is asked five times before it gives up.
        found = huggingface_hub.snapshot_download(repository, local_files_only=True)
    except (ImportError, OSError, ValueError):
        return None
    return pathlib.Path(found) if _is_model(pathlib.Path(found)) else None


def _fetch_folder(repository: str) -> pathlib.Path:
    import huggingface_hub

    try:
        return pathlib.Path(huggingface_hub.snapshot_download(repository))
    except (OSError, ValueError) as error:
        raise _refused(repository, error) from error


def _refused(what: str, error: Exception) -> WeightsMissing:
    said = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return WeightsMissing(
        f"weights: the hub must hand over {what}, got: {said}. Is this machine online, "
        "and has the licence been accepted?"
    )


def _fetch(model: str, part: WeightsFile) -> pathlib.Path:
    if part.download:
        path = cache_folder() / "weights" / model / part.name
        _stream(part.download, path, part)
        return path
    import huggingface_hub

    try:
        return pathlib.Path(huggingface_hub.hf_hub_download(part.hub, part.name))
    except (OSError, ValueError) as error:
        raise _refused(f"{part.name} of {part.hub}", error) from error


def _stream(address: str, path: pathlib.Path, part: WeightsFile) -> None:
    """Fetch a file; what is there afterwards is whole, and the published one."""
    try:
        with (
            urllib.request.urlopen(address, timeout=_PATIENCE_SECONDS) as source,
            atomic_path(path) as temporary,
            temporary.open("wb") as file,
        ):
            size = int(source.headers.get("Content-Length") or 0)
            with tqdm(total=size, desc=part.name, unit="B", unit_scale=True) as bar:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            file.flush()
            if size and temporary.stat().st_size != size:
                raise InputError(
                    f"weights: {size} bytes were announced, got "
                    f"{temporary.stat().st_size} ({address}). Try again."
                )
            if part.sha256 and sha256_file(temporary) != part.sha256:
                raise InputError(
                    f"weights: the published {part.name} is required, got a file with "
                    f"another checksum ({address}). Get it by hand: {part.url}"
                )
    except (OSError, http.client.HTTPException) as error:
        raise WeightsMissing(
            f"weights: {part.name} must come from {address}, got {error}. Is this "
            f"machine online? By hand: {part.url}"
        ) from error


def _missing(
    described: Card, part: WeightsFile, given: str | None, download: bool
) -> WeightsMissing:
    size = f"{part.size_gb:g} GB, " if part.size_gb else ""
    flag = _flag(described)
    said = f"{flag}{given}" if given else flag.partition("=")[0]
    places = [said] if said else []
    if given is None or part is not described.files[0]:
        places += [
            _everybodys(described.name),
            str(cache_folder() / "weights" / described.name),
            *([f"the package {part.package}"] if part.package else []),
            *(["the cache of the hub"] if part.hub else []),
        ]
    return WeightsMissing(
        f"weights: {described.name} needs {part.title} ({size}{part.licence}), got "
        f"none in {', '.join(places)}. {_way_out(described, part, download)}"
    )


def _everybodys(model: str) -> str:
    """Return where the variable leads."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return f"${VARIABLE} (not set)"
    is_there = pathlib.Path(folder).is_dir()
    return f"${VARIABLE}/{model} ({folder}{'' if is_there else ' is no folder'})"


def _way_out(described: Card, part: WeightsFile, download: bool) -> str:
    ways = []
    if part.package:
        ways.append(f"Run: {PIP} {part.package}")
    elif part.url or part.hub:
        ways.append(f"Get it: {part.url or f'https://huggingface.co/{part.hub}'}")
        ways.append(f"and give {_flag(described)}<its path>.")
    if part.hub or part.download:
        if not download:
            ways.append("Nothing was fetched: --download does that.")
    elif download and not part.package:
        ways.append("--download cannot fetch this one.")
    if present := _present(described):
        ways.append(f"With weights here: {', '.join(present)}.")
    if flag := _flag(described):
        ways.append(f"Without weights, as a smoke test: {flag}random:0.")
    return " ".join(ways)


def _flag(described: Card) -> str:
    """Return how the scripts are told the weights of a model, up to their place.

    Empty for a text tower, which no flag names: it is its teacher's.
    """
    alone = {
        "text": "",
        "synthesizer": "--diffusion_weights=",
        "prompter": "--sam_weights=",
    }
    return alone.get(described.kind, f"--weights={described.name}=")


def _present(described: Card) -> list[str]:
    """Return the models that could stand in for one, and whose weights are here."""
    teachers = ("dense", "mask", "heat")
    kinds = teachers if described.kind in teachers else (described.kind,)
    return [
        other.name
        for other in cards().values()
        if other.kind in kinds and found_files(other.name) is not None
    ]
