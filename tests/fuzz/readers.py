"""Give damaged files to every reader: it reads them, or says in a line what is wrong.

  python tests/fuzz/readers.py --seconds=300 --seed=1

Anything but an answer or an InputError of one line is a fault: another exception, more
than ten seconds, memory out of proportion to the file, the end of the process. What
failed is written below --failed, as `<target>/<number>/<file>`; moved to
`tests/fuzz/corpus`, it is tried again by every run of the tests.
"""

import argparse
import multiprocessing
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tracemalloc
import warnings

TESTS = pathlib.Path(__file__).resolve().parents[1]
CORPUS = TESTS / "fuzz" / "corpus"
LONGEST_S = 10
# A file is decoded into arrays several times its size; beyond that a size was believed.
MOST_BYTES, TIMES_THE_FILES = 300 << 20, 200
_BATCH = 40


class TooLong(BaseException):
    """Raised in a reader that has not come to an end."""


def _alarm(*_):
    raise TooLong


def fault(target, folder):
    """Return what is wrong with how a target reads a folder, None for nothing."""
    from sas_jax.errors import InputError

    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    signal.signal(signal.SIGALRM, _alarm)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    signal.alarm(LONGEST_S)
    try:
        target.read(folder)
    except InputError as error:
        if "\n" in str(error):
            return f"lines: {error!r}"
    except TooLong:
        return f"more than {LONGEST_S} s"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    taken = tracemalloc.get_traced_memory()[1] - before
    if taken > MOST_BYTES + TIMES_THE_FILES * size:
        return f"{taken >> 20} MiB for {size} bytes"
    return None


def mutate_one(folder, seed):
    """Mutate one file of a folder by a seed; return its path."""
    from fuzz.mutate import mutated

    chosen = random.Random(seed)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    # A name that many files share, such as frames, counts once.
    kinds = sorted({(path.parent, path.suffix) for path in paths})
    kind = chosen.choice(kinds)
    path = chosen.choice([p for p in paths if (p.parent, p.suffix) == kind])
    path.write_bytes(mutated(path.read_bytes(), chosen))
    return path


def _batch(name, seeds, queue):
    """Try seeds on a target, in a process of its own; tell each before and after."""
    import logging

    from fuzz.targets import TARGETS

    logging.disable()
    warnings.simplefilter("ignore")
    tracemalloc.start(1)
    # What native code takes is not traced: it fails where it takes too much.
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))
    (target,) = (t for t in TARGETS if t.name == name)
    with tempfile.TemporaryDirectory() as place:
        whole, tried = pathlib.Path(place, "whole"), pathlib.Path(place, "tried")
        whole.mkdir()
        target.write(whole)
        if (found := fault_of_whole(target, whole)) is not None:
            queue.put((None, found, "", b""))
            return
        for seed in seeds:
            shutil.rmtree(tried, ignore_errors=True)
            shutil.copytree(whole, tried)
            path = mutate_one(tried, seed)
            of = str(path.relative_to(tried)), path.read_bytes()
            queue.put((seed, "the process ended", *of))
            queue.put((seed, fault(target, tried), *of))
    queue.put(None)


def fault_of_whole(target, folder):
    """Return why the files that a target writes cannot be read, None if they can."""
    if target.name in ("student.safetensors", "playcanvas_compressed_sh3.ply"):
        return None  # cut short
    try:
        target.read(folder)
    except Exception as error:
        return f"whole files: {type(error).__name__}: {error}"
    return None


def try_batch(name, seeds):
    """Return `(file, bytes, fault)` of each seed of a target that fails."""
    queue = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=_batch, args=(name, seeds, queue))
    process.start()
    last, failed, pending = None, [], None
    while True:
        while queue.empty() and process.is_alive():
            time.sleep(0.005)
        if queue.empty():
            break
        last = queue.get()
        if last is None:
            pending = None
            break
        seed, found, file, data = last
        pending = (file, data, found) if found == "the process ended" else None
        if pending is None and found:
            failed.append((file, data, f"seed {seed}: {found}"))
    process.join()
    if pending:
        failed.append(pending)
    return failed


def run(seconds, seed, failed, names=None):
    """Fuzz all targets in turn for some seconds; return how many inputs and faults."""
    from fuzz.targets import TARGETS

    names = names or [target.name for target in TARGETS]
    known, tried, began, number = set(), 0, time.monotonic(), seed * 1_000_000
    while time.monotonic() - began < seconds:
        for name in names:
            if time.monotonic() - began >= seconds:
                break
            for file, data, found in try_batch(name, range(number, number + _BATCH)):
                kind = (name, found.split(": ", 1)[-1][:60])
                if kind in known:
                    continue
                known.add(kind)
                print(f"{name} {file}: {found}", flush=True)
                to = failed / name / str(len(known)) / (file or "none")
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(data)
            tried += _BATCH
        number += _BATCH
    return tried, len(known)


def main():
    """Fuzz, and end with status 1 where a reader failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--targets", type=lambda text: text.split(","))
    parser.add_argument("--failed", type=pathlib.Path, default="build/fuzz")
    asked = parser.parse_args()
    tried, faults = run(asked.seconds, asked.seed, asked.failed, asked.targets)
    print(f"seed {asked.seed}: {tried} files, {faults} kinds of faults")
    return faults > 0


if __name__ == "__main__":
    sys.exit(main())
