"""Verifiers that misbehave when the response asks for it; workers import them by name."""

import decimal
import fcntl
import fractions
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

_judged: list[str] = []


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


RETURNED = {
    "decimal": decimal.Decimal(1),
    "numpy": np.float32(1),
    "array": np.ones(2),
    "list": [1.0],
    "bool": True,
    "numpy bool": np.bool_(True),
    "fraction": fractions.Fraction(1),
    "long text": "1" * 10_000_000,
    "1e999": 1e999,
    "complex": 1j,
    "huge": 10**400,
    "unprintable": Unprintable(),
}
RAISED = {
    "base": BaseException("base"),
    "interrupt": KeyboardInterrupt(),
    "generator": GeneratorExit(),
    "memory": MemoryError(),
    "surrogate": ValueError("\ud800 \x1b[31m\n\x00"),
    "silent": Silent(),
}


def hostile(response: str, answer: str) -> object:
    """Does what the response says, as one that got to run as code might."""
    kind, _, rest = response.partition(":")
    if kind == "returns":
        return RETURNED[rest]
    if kind == "raises":
        raise RAISED[rest]
    match kind:
        case "recurse":
            return hostile(response, answer)
        case "take over":
            hostile.__code__ = (lambda response, answer: 1.0).__code__
            sys.modules["math"].isfinite = lambda number: True  # type: ignore[attr-defined]
            _judged.append(response)
        case "judged before":
            return float(bool(_judged))
        case "exit 0":
            os._exit(0)
        case "kill parent":
            os.kill(os.getppid(), signal.SIGKILL)
        case "stop parent":
            os.kill(os.getppid(), signal.SIGSTOP)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "ignore":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            time.sleep(60)
        case "close":
            os.closerange(0, 256)
        case "garbage":
            for descriptor in range(256):
                with suppress(OSError):
                    os.write(descriptor, b'["", 1.0, ""]\n')
        case "flood":
            for descriptor in range(3):
                for _ in range(100):
                    os.write(descriptor, b"x" * 1_000_000)
        case "doubled":  # finds its own question's digits in the memory of its process, as it may
            question = sys._getframe(1).f_back.f_locals["question"]  # type: ignore[union-attr]
            os.write(3, json.dumps([question, 1.0, ""]).encode() + b"\n")
        case "other question":
            os.write(3, json.dumps(["0" * 32, 1.0, ""]).encode() + b"\n")
            os._exit(0)
        case "folder":
            os.chdir("/")
            os.rmdir(os.environ["HOME"])
        case "leave file":
            Path("left").write_text("x")
        case "left file":
            return float(Path("left").exists() or len(os.listdir("..")) > 2)
        case "memory":
            bytearray(1 << int(rest))
        case "file":
            Path("large").write_bytes(bytes(100 << 20))
        case "write":
            Path(rest).write_text("written")
        case "mode":
            Path(rest).chmod(0o777)
        case "socket":
            socket.create_connection(("127.0.0.1", int(rest)), timeout=2).close()
        case "signal":
            os.kill(int(rest), 0)
        case "own":
            fcntl.fcntl(0, fcntl.F_SETOWN, int(rest))
        case "peek":
            raise RuntimeError(Path(f"/proc/{rest}/environ").read_bytes().replace(b"\0", b" ")[:400])
        case "environment":
            raise RuntimeError(" ".join(sorted(os.environ)))
        case "place":
            raise RuntimeError(json.dumps([os.getcwd(), os.environ["HOME"], os.environ["TMPDIR"]]))
        case "descriptors":
            raise RuntimeError(" ".join(sorted(os.listdir("/proc/self/fd"), key=int)))
        case "daemon":
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    Path(rest).write_text(str(os.getpid()))
                    time.sleep(60)
                os._exit(0)
            while not Path(rest).is_file() or not Path(rest).read_text():
                time.sleep(0.01)
            return 1.0
        case "forks":
            for _ in range(40):
                if os.fork() == 0:
                    time.sleep(60)
            time.sleep(60)
    return float(response == answer)


def misbehaving(response: str, answer: str) -> object:
    match response:
        case "loop":
            while True:
                pass
        case "wait":
            time.sleep(3600)
        case "hold the interpreter":
            return float(9 ** (9**9) % 10)
        case "crash":
            os._exit(7)
        case "exit":
            sys.exit(3)
        case "raise":
            raise RuntimeError("lost")
        case "print":
            print("[1.0, '']", flush=True)
    nonsense = {"nan": float("nan"), "inf": float("inf"), "two": 2.0, "minus": -0.5, "text": "1.0", "none": None}
    return nonsense.get(response, float(response == answer))
