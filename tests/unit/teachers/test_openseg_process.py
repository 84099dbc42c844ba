"""A worker behind pipes: errors, its end, lateness, and that it leaves no orphan."""

import contextlib
import os
import select
import signal
import subprocess
import sys

import pytest

from sas_jax.errors import InputError
from sas_jax.teachers.openseg import worker
from sas_jax.teachers.openseg.process import Worker

# Does what the question says.
FAKE = """
import os, struct, sys
frame = struct.Struct("<cQ")
def say(kind, content):
    os.write(1, frame.pack(kind, len(content)) + content)
if sys.argv[1] == "mute":
    sys.stdin.read()
if sys.argv[1] == "chatty":
    print("Welcome to this environment!", flush=True)
if sys.argv[1] == "broken":
    sys.exit("a library is damaged")
if sys.argv[1] == "untrained":
    say(b"e", b"ModuleNotFoundError: No module named 'tensorflow'")
    sys.exit(1)
say(b"r", b"Python")
while header := sys.stdin.buffer.read(frame.size):
    question = sys.stdin.buffer.read(frame.unpack(header)[1])
    if question == b"die":
        os.kill(os.getpid(), 9)
    elif question == b"wait":
        sys.stdin.read()
    elif question == b"fail":
        say(b"e", b"ValueError: no picture")
    elif question == b"endless":
        os.write(1, frame.pack(b"f", 1 << 40))
    elif question == b"half":
        os.write(1, frame.pack(b"f", 100) + b"only this")
        sys.exit("out of words")
    else:
        say(b"f", question[::-1])
"""


def _worker(what="", seconds=60.0):
    command = [sys.executable, "-c", FAKE, what]
    return Worker("openseg", command, os.environ, start_seconds=seconds)


@pytest.fixture
def fake():
    process = _worker()
    yield process
    process.close()


def _gone(pid):
    """Wait until a process has ended; a zombie has."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 60)[0])
    finally:
        os.close(handle)


def test_questions_of_any_length_are_answered_in_turn(fake):
    for size in (0, 1, 70_000, 3_000_000):
        question = os.urandom(size)
        assert fake.ask(question, seconds=60) == question[::-1]


def test_it_says_what_it_runs_on(fake):
    assert fake.runs_on == "Python"


def test_an_error_is_one_line_and_the_worker_lives_on(fake):
    with pytest.raises(InputError, match="openseg: the worker must answer, got Val"):
        fake.ask(b"fail", seconds=60)
    assert fake.ask(b"abc", seconds=60) == b"cba"


def test_a_worker_that_is_killed_is_told(fake):
    with pytest.raises(InputError, match=r"stay alive, got its end \(status -9\)"):
        fake.ask(b"die", seconds=60)
    with pytest.raises(InputError, match="got one that has ended"):
        fake.ask(b"abc", seconds=60)


def test_an_answer_that_breaks_off_quotes_the_last_words(fake):
    with pytest.raises(InputError, match=r"status 1; out of words\)"):
        fake.ask(b"half", seconds=60)


def test_a_late_worker_is_ended(fake):
    with pytest.raises(InputError, match="answer in time"):
        fake.ask(b"wait", seconds=0.05)
    assert _gone(fake.pid)


def test_a_length_that_is_none_is_refused(fake):
    with pytest.raises(InputError, match="frames of this version"):
        fake.ask(b"endless", seconds=60)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("broken", "status 1; a library is damaged"),
        ("chatty", r"frames of this version.*OPENSEG_PYTHON"),
        ("untrained", r"be ready, got ModuleNotFound.*Set \$SAS_OPENSEG_PYTHON"),
    ],
)
def test_a_worker_that_does_not_get_ready_is_told(what, message):
    with pytest.raises(InputError, match=message):
        _worker(what)


def test_a_worker_that_never_gets_ready_is_ended():
    with pytest.raises(InputError, match="be ready in time"):
        _worker("mute", seconds=0.05)


def test_what_a_wrapper_started_and_left_is_ended(tmp_path):
    """It holds the pipe, so that its end is not seen there."""
    script = tmp_path / "wrapper"
    script.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/pid\nexit 3\n")
    script.chmod(0o755)
    with pytest.raises(InputError, match=r"its end \(status 3"):
        Worker("openseg", [str(script)], os.environ, start_seconds=60)
    assert _gone(int((tmp_path / "pid").read_text()))


def test_no_interpreter_is_told(tmp_path):
    with pytest.raises(InputError, match=r"that can be started.*OPENSEG_PYTHON"):
        Worker("openseg", [str(tmp_path / "none")], {}, start_seconds=1)


def test_close_ends_it_and_may_come_twice(fake):
    fake.close()
    fake.close()
    assert _gone(fake.pid)


def test_a_forgotten_worker_ends():
    process = _worker()
    pid = process.pid
    del process
    assert _gone(pid)


# A teacher's process, and in it a worker that computes for ever.
PARENT = """
import os, sys
from sas_jax.teachers.openseg.process import Worker
child = Worker("openseg", [sys.executable, "-c", sys.argv[1]], os.environ,
               start_seconds=60)
print(child.pid, flush=True)
child.ask(b"an image", seconds=600)
"""
CHILD = """
import importlib.util, os, sys, threading
spec = importlib.util.spec_from_file_location("worker", {path!r})
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)
def model(image):
    with open({fifo!r}, "w") as fifo:
        fifo.write("computing")
    threading.Event().wait()
worker.serve(lambda: (model, "nothing"), sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
"""


def test_a_parent_that_is_killed_leaves_no_orphan(tmp_path, root):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    child = CHILD.format(path=worker.__file__, fifo=str(fifo))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, child],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    pid = int(parent.stdout.readline())
    try:
        assert fifo.read_text() == "computing"
        parent.kill()
        assert _gone(pid)
    finally:
        parent.kill()
        parent.communicate()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # the orphan, if this test has failed
