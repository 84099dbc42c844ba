"""Run one stage many times in forks of a process that has imported what it needs.

  python tests/faults/runner.py STAGE

`PYTHONPATH` names the root, `tests` and `experiments`. Reads a JSON line {arguments,
log, fault, folders} for each run, answers with one {status, changes, reads, seconds}:
the exit status, negative for a signal, and how many moments there were (None for a
process that was killed).
"""

import atexit
import importlib
import json
import os
import sys
import time

from faults import small_parts
from faults.injector import Injector, install


def run(stage, request):
    """Run the stage in this process, which ends with it."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    injector = Injector(*request["fault"], request["folders"])
    install(injector)
    sys.argv = [f"{stage.__name__}.py", *request["arguments"]]
    status = 0
    try:
        stage.settings.run(stage.main)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status, injector.changes, injector.reads


def serve(stage):
    """Answer requests until there are no more."""
    answers = os.dup(1)
    for line in sys.stdin:
        request = json.loads(line)
        began = time.monotonic()
        counts, own = os.pipe()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code, *found = run(stage, request)
                os.write(own, json.dumps(found).encode())
            finally:
                os._exit(code or 0)
        os.close(own)
        found = b"".join(iter(lambda: os.read(counts, 4096), b""))  # noqa: B023
        os.close(counts)
        _, status = os.waitpid(child, 0)
        changes, reads = json.loads(found) if found else (None, None)
        answer = {
            "status": os.waitstatus_to_exitcode(status),
            "changes": changes,
            "reads": reads,
            "seconds": time.monotonic() - began,
        }
        os.write(answers, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    small_parts.put_in()
    if sys.argv[1] in ("train", "evaluate"):  # the others load no JAX
        small_parts.shrink_network()
    serve(importlib.import_module(sys.argv[1]))
