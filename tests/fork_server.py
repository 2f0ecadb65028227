"""Commands as processes of their own that start in milliseconds: a server that has imported
everything forks a child for each, with the caller's arguments, folder, environment and descriptors.

    python fork_server.py --serve SOCKET                  the server, one for all tests of a run
    python -I -S fork_server.py SOCKET encode --model ... a command, as `spladev3-anserini` would run it
    python -I -S fork_server.py SOCKET -c CODE ...        Python code, as `python -c` would run it
    python -I -S fork_server.py SOCKET --crashes ...      crashes.py

A child sees what a fresh process sees, but for modules that are imported already. Those that read the
environment when they are imported are forgotten first. SIGUSR1 kills the child (kill -9), and the
caller ends when the child has ended.
"""

from __future__ import annotations

import io
import json
import os
import selectors
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

#: They read HF_HOME, IR_DATASETS_HOME and the like once, at import.
READ_THE_ENVIRONMENT = ("huggingface_hub", "ir_datasets", "pyserini")
#: What the caller is sent -> what its child is sent.
PASSED_ON = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM,
             signal.SIGUSR1: signal.SIGKILL}
_MESSAGE = 1 << 20


def client(path: str, words: list[str]) -> int:
    """Hands a command to the server and waits; signals that end it are passed on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE)
        server.connect(path)
        job = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}
        socket.send_fds(server, [json.dumps(job).encode()], [0, 1, 2])
        for number in PASSED_ON:
            signal.signal(number, lambda received, frame: server.send(
                bytes([PASSED_ON[received]])) and None)
        answer = server.recv(16)
    code = int(answer or b"70")
    if code < 0:  # as a shell tells it
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def serve(path: str) -> None:
    """Answers commands until standard input ends, which is when its worker does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, \
            selectors.DefaultSelector() as ready:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        ready.register(listener, selectors.EVENT_READ, None)
        ready.register(sys.stdin, selectors.EVENT_READ, None)
        while True:
            for key, _ in ready.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is listener:
                    _start(listener, ready)
                elif isinstance(key.fileobj, socket.socket):
                    _pass_on(key.fileobj, key.data, ready)
                else:
                    _finish(int(key.fd), *key.data, ready)


def _start(listener: socket.socket, ready: selectors.BaseSelector) -> None:
    caller, _ = listener.accept()
    message, descriptors, _, _ = socket.recv_fds(caller, _MESSAGE, 3)
    pid = os.fork()
    if not pid:
        listener.close()
        caller.close()
        _run(json.loads(message), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    ready.register(caller, selectors.EVENT_READ, pid)
    ready.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, caller))


def _pass_on(caller: socket.socket, pid: int, ready: selectors.BaseSelector) -> None:
    """A signal for the child; a caller that has gone takes its child with it."""
    with suppress(ConnectionError, ProcessLookupError):
        if message := caller.recv(1):
            os.kill(pid, message[0])
            return
    ready.unregister(caller)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _finish(descriptor: int, pid: int, caller: socket.socket,
            ready: selectors.BaseSelector) -> None:
    ready.unregister(descriptor)
    os.close(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(KeyError):
        ready.unregister(caller)
    with suppress(OSError):
        caller.send(str(code).encode())
    caller.close()


def _run(job: dict[str, Any], descriptors: list[int]) -> NoReturn:
    code: object = 70
    try:
        for place, descriptor in enumerate(descriptors):
            os.dup2(descriptor, place)
        os.closerange(3, max(descriptors) + 1)
        os.chdir(job["folder"])
        os.environ.clear()
        os.environ.update(job["environment"])
        for name in [n for n in sys.modules if n.partition(".")[0] in READ_THE_ENVIRONMENT]:
            del sys.modules[name]
        if job["environment"].get("PYTHONUNBUFFERED") and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(write_through=True)
        _do(job["words"])
        code = 0
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def _do(words: list[str]) -> None:
    if words[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *words[2:]], ""
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    elif words[0] == "--crashes":
        crashes.answer_all(words[1:])
    else:
        sys.argv = ["spladev3-anserini", *words]
        run(commands, words)


def _import_everything() -> None:
    """Without starting Java, which would not survive a fork."""
    for module in pkgutil.walk_packages(spladev3_anserini.__path__, "spladev3_anserini."):
        import_module(module.name)
    for name in ("accelerate", "onnxruntime", "transformers.models.bert.modeling_bert",
                 "transformers.models.distilbert.modeling_distilbert", "transformers.trainer"):
        import_module(name)


if __name__ == "__main__":
    if sys.argv[1] != "--serve":
        sys.exit(client(sys.argv[1], sys.argv[2:]))
    import pkgutil
    from importlib import import_module

    import crashes
    from quick_java import start_java_quickly

    import spladev3_anserini
    from spladev3_anserini.cli.app import run
    from spladev3_anserini.cli.commands import commands

    _import_everything()
    start_java_quickly()
    serve(sys.argv[2])
    shutil.rmtree(Path(sys.argv[2]).parent)
    os._exit(0)  # a worker that waits is killed after 10 s
