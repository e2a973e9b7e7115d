"""Responses that get to run as code inside a verifier, among honest ones whose verdicts must all be right.

    python dev/attack/escapes.py --num 2000 --seed 0

Each round scores a few honest items and hostile ones in random order. A round holds if nothing is raised, every honest
verdict is right, no process and no file is left, nothing outside is written, read or reached. Attacks on a claim that
this machine does not make are left out, and named at the beginning.
"""

import argparse
import os
import random
import shutil
import socket
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from didact.tasks.verifier import Verifier

SECRET = "DIDACT_ESCAPES_SECRET"
SLEEP = f"6173.{os.getpid()}"  # how long attacks sleep; tells this run's from another's

# What the response says, run as Python; the claim it attacks ("" for what holds everywhere). Where a claim should prove
# wrong, nothing worse happens than that: signals to others are number 0, which only asks whether one may.
ATTACKS = {
    "sys.modules['__main__'].read_answer = lambda *a: (1.0, '')": "",
    "import didact.tasks.worker as w; w.judge = lambda *a: (1.0, ''); w.read_answer = w.judge": "",
    "evaluates.__code__ = (lambda response, answer: 1.0).__code__": "",
    "import builtins; builtins.float = lambda x: 1.0": "",
    "os._exit(0)": "",
    "os._exit(77)": "",
    "raise SystemExit(0)": "",
    "raise KeyboardInterrupt": "",
    "raise BaseException('\\ud800' * 1000)": "",
    "f = lambda: f(); f()": "",
    "x = [0] * 10**11": "",
    "os.closerange(0, 256)": "",
    '[os.write(n, b\'["", 1.0, ""]\\n\') for n in range(256) if open_(n)]': "",
    "[os.write(n, os.urandom(60000)) for n in range(256) if open_(n)]": "",
    "os.write(1, b'x' * 10**8); os.write(2, b'x' * 10**8)": "",
    "os.write(3, b'[' * 5000)": "",
    "signal.raise_signal(signal.SIGSTOP)": "",
    "signal.raise_signal(signal.SIGSEGV)": "",
    "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(6173)": "",
    "while True: pass": "",
    "threading.Thread(target=time.sleep, args=(6173,)).start()": "",
    "os.chdir('/'); shutil.rmtree(os.environ['HOME'], ignore_errors=True)": "",
    "os.makedirs('a/' * 50); open('a/f', 'w').write('x'); os.symlink('/', 'root')": "",
    "open('large', 'wb').write(bytes(80 << 20))": "",
    "leak(os.environ)": "environment",
    "open(f'/proc/{os.getppid()}/environ').read(); mark()": "no_meddling",
    "open(f'/proc/{CALLER}/environ').read(); mark()": "no_meddling",
    "open(f'/proc/{CALLER}/mem', 'rb'); mark()": "no_meddling",
    "os.write(os.open(f'/proc/{os.getppid()}/fd/1', os.O_WRONLY), b'[\"\", 1.0, \"\"]\\n' * 9)": "no_meddling",
    "os.kill(os.getppid(), 9)": "no_meddling",
    "os.kill(os.getppid(), signal.SIGSTOP)": "no_meddling",
    "os.kill(CALLER, 0); mark()": "no_meddling",
    "os.kill(-1, 0); mark()": "no_meddling",
    "os.killpg(os.getpgid(CALLER), 0); mark()": "no_meddling",
    "resource.prlimit(CALLER, resource.RLIMIT_CORE, (0, 0)); mark()": "no_meddling",
    "os.sched_setaffinity(CALLER, {0}); mark()": "no_meddling",
    "fcntl.fcntl(0, fcntl.F_SETOWN, CALLER); mark()": "no_meddling",
    "os.setpriority(os.PRIO_PROCESS, CALLER, 19); mark()": "no_meddling",
    "mmap.mmap(-1, 8 << 30); mark()": "memory",
    "os.fork() or time.sleep(6173)": "no_survivors",
    "os.fork() or (os.setsid(), os.fork(), time.sleep(6173))": "no_survivors",
    "[os.fork() for _ in range(4)]; time.sleep(6173)": "no_survivors",
    "subprocess.Popen(['sleep', '6173'], start_new_session=True)": "no_survivors",
    "os.system('touch ' + OUTSIDE + '/system')": "no_writing",
    "open(OUTSIDE + '/new', 'w')": "no_writing",
    "open(KEPT, 'a').write('x')": "no_writing",
    "os.truncate(KEPT, 0)": "no_writing",
    "os.remove(KEPT)": "no_writing",
    "os.chmod(KEPT, 0o777)": "no_writing",
    "os.utime(KEPT, (0, 0))": "no_writing",
    "os.rename(KEPT, 'kept')": "no_writing",
    "os.link(KEPT, 'kept'); open('kept', 'w')": "no_writing",
    "os.symlink(OUTSIDE, 'out'); open('out/new', 'w')": "no_writing",
    "os.fchmod(os.open(KEPT, os.O_RDONLY), 0o777)": "no_writing",
    "socket.create_connection(('127.0.0.1', PORT))": "no_network",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', UDP))": "no_network",
    "a, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); a.sendto(b'x', LOCAL)": "no_network",
    "ctypes.CDLL(None).ptrace(16, CALLER, 0, 0) == 0 and mark()": "no_meddling",
    "ctypes.CDLL(None).unshare(0x10000000) == 0 and mark()": "no_processes",
    "ctypes.CDLL(None).syscall(425, 8, bytes(120)) >= 0 and mark()": "no_network",
}
PRELUDE = """
import ctypes, fcntl, mmap, os, resource, shutil, signal, socket, subprocess, sys, threading, time
def open_(n):
    try: os.fstat(n)
    except OSError: return False
    return True
def leak(text):
    if "hidden-value" in str(text): mark()
def mark():
    raise RuntimeError("ESCAPED")
"""


def evaluates(response: str, answer: str) -> float:
    """The verifier under attack: it runs what the model wrote, and then compares."""
    if response.startswith("#!"):
        exec(response[2:], globals())
    return float(response == answer)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=500, help="attacks")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    os.environ[SECRET] = "hidden-value"
    sys.path.insert(0, str(Path(__file__).parent))
    folder = tempfile.mkdtemp(prefix="escapes-")
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(dir=folder)
    outside = Path(folder, "outside")
    outside.mkdir()
    (outside / "kept").write_text("mine")
    os.utime(outside / "kept", (1e9, 1e9))
    failures: list[str] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
    ):
        udp.bind(("127.0.0.1", 0))
        local.bind(f"{folder}/local")
        for each in (tcp, udp, local):
            each.setblocking(False)
        names = {"CALLER": os.getpid(), "PORT": tcp.getsockname()[1], "UDP": udp.getsockname()[1]}
        names |= {"LOCAL": f"{folder}/local", "OUTSIDE": str(outside), "KEPT": str(outside / "kept")}
        prelude = PRELUDE + "\n".join(f"{name} = {value!r}" for name, value in names.items()) + "\n"
        with Verifier("escapes:evaluates", timeout=1.0, workers=2) as verifier:
            claimed = asdict(verifier.guarantees)
            attacks = [code for code, claim in ATTACKS.items() if not claim or claimed[claim]]
            print("not claimed here:", ", ".join(name for name, held in claimed.items() if not held) or "nothing")
            state = _state(outside)
            for done in range(arguments.num):
                code = rng.choice(attacks)
                wrong = _round(verifier, "#!" + prelude + code.replace("6173", SLEEP), rng)
                for name, each in (("TCP", tcp), ("UDP", udp), ("a local socket", local)):
                    wrong += [f"{name} reached"] if _reached(each) else []
                wrong += ["something outside written"] if _state(outside) != state else []
                wrong += [f"left: {left}" for left in _processes()]
                if wrong:
                    failures.append(f"--seed {arguments.seed}, attack {done}: {code!r}: {'; '.join(wrong)}")
                if done % 200 == 199:
                    print(f"{done + 1} of {arguments.num}, {len(failures)} did not hold", flush=True)
    if left := os.listdir(tempfile.gettempdir()):
        failures.append(f"--seed {arguments.seed}: temporary files left at the end: {left}")
    shutil.rmtree(folder)
    print("\n".join(failures))
    print(f"escapes: {arguments.num} attacks, {arguments.num - len(failures)} held")
    return 1 if failures else 0


def _round(verifier: Verifier, attack: str, rng: random.Random) -> list[str]:
    honest = [(text, rng.choice("ab")) for text in rng.choices("ab", k=rng.randint(2, 6))]
    position = rng.randint(0, len(honest))
    items = [*honest[:position], (attack, "right"), *honest[position:]]
    try:
        scores = verifier.score([response for response, _ in items], [answer for _, answer in items])
    except BaseException as error:
        return [f"raised {error!r}"]
    wrong = []
    for index, ((response, answer), score) in enumerate(zip(items, scores, strict=True)):
        if index != position and score.value != float(response == answer):
            wrong.append(f"an honest item got {score}")
    if "ESCAPED" in scores[position].detail:
        wrong.append("it got what it wanted")
    return wrong


def _state(folder: Path) -> list[tuple[object, ...]]:
    found = []
    for path in sorted(folder.iterdir()):
        status = path.stat()
        found.append((path.name, status.st_mode, status.st_size, status.st_mtime))
    return found


def _reached(listener: socket.socket) -> bool:
    try:
        listener.accept() if listener.type == socket.SOCK_STREAM else listener.recv(1)
    except BlockingIOError:
        return False
    return True


def _processes() -> list[str]:
    """Forks of this run's workers, and programs that sleep for one of its attacks."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        below = f"escapes:evaluates {tempfile.gettempdir()}" in command and int(fields[1]) != os.getpid()
        if fields[0] not in "ZX" and (below or command.startswith(f"sleep {SLEEP}")):
            found.append(f"{stat.parent.name} {command[:80]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
