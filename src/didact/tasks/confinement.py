"""What a process can give up for good on Linux: writing files, the network, other processes, root's powers.

Landlock and a seccomp filter need no privileges and no helper program, hold for everything the process starts, and
cannot be undone from within. Each is asked for and none is relied on: a kernel, a container or a machine other than
x86-64 and 64-bit ARM may know only some of them, so `didact.tasks.sandbox` tries afterwards what holds.

What this does not do: limits on memory and time, and anything outside Linux (there nothing happens).
"""

import ctypes
import errno
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

# Landlock: kinds of access to files by the version of its interface that brought them, and who may be signalled.
_ON_FILES: Final = {1: 1 << 1, 3: 1 << 14, 5: 1 << 15}  # write, truncate, ioctl of devices
_IN_FOLDERS: Final = {1: sum(1 << bit for bit in range(4, 13)), 2: 1 << 13}  # make, remove, link or move across
_SCOPES: Final = {6: 1 << 0 | 1 << 1}  # abstract sockets and signals stay among the processes confined together
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, the same on every machine

# seccomp: system calls as (x86-64, 64-bit ARM); None where a machine does not have it.
_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_Call = tuple[int | None, int | None]
_NEVER: Final[tuple[_Call, ...]] = (
    *((101, 117), (310, 270), (311, 271), (438, 438)),  # ptrace, process_vm_readv and _writev, pidfd_getfd
    *((272, 97), (308, 268), (321, 280), (425, 425)),  # unshare, setns, bpf; io_uring, which filters do not see
    *((29, 194), (64, 190), (68, 186), (240, 180), (248, 217), (250, 219)),  # outlive a process: shmget ... keyctl
)
_MODES: Final[tuple[_Call, ...]] = (  # permissions, owners, times, attributes: Landlock does not see these
    *((90, None), (91, 52), (268, 53), (452, 452), (92, None), (93, 55), (94, None), (260, 54)),
    *((132, None), (235, None), (261, None), (280, 88)),
    *((188, 5), (189, 6), (190, 7), (197, 14), (198, 15), (199, 16), (463, 463), (466, 466), (469, 469)),
)
_LIMITS_OF: Final[tuple[_Call, ...]] = ((302, 261), (203, 122), (144, 119), (142, 118), (314, 274))  # prlimit, sched_*
_PRIORITIES: Final[tuple[_Call, ...]] = ((141, 140), (251, 30))  # setpriority, ioprio_set
_SIGNALS: Final[tuple[_Call, ...]] = ((62, 129), (234, 131), (129, 138), (297, 240))  # kill, tgkill, sigqueue
_SIGNALS_TO_THREADS: Final[tuple[_Call, ...]] = ((200, 130), (424, 424))  # tkill, pidfd_send_signal
_FORKS: Final[tuple[_Call, ...]] = ((57, None), (58, None))  # fork, vfork
_CLONE: Final[_Call] = (56, 220)
_CLONE3: Final[_Call] = (435, 435)
_SOCKET: Final[_Call] = (41, 198)
_SOCKETPAIR: Final[_Call] = (53, 199)
_PRCTL: Final[_Call] = (157, 167)
_FCNTL: Final[_Call] = (72, 25)
_IOCTL: Final[_Call] = (16, 29)
_OWNERS: Final = ((_FCNTL, (8, 15)), (_IOCTL, (0x8901, 0x8902)))  # whom a file signals: F_SETOWN(_EX), FIO/SIOCSPGRP
_CLONE_THREAD: Final = 1 << 16
_SET_DEATH_SIGNAL, _SET_SECCOMP, _SET_SUBREAPER, _NO_NEW_PRIVILEGES = 1, 22, 36, 38
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # operations of BPF

_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

_DAC: Final = 1 << 1 | 1 << 2  # root goes on reading and writing files that others own, as far as Landlock allows


def adopt_orphans() -> None:
    """Make this process the parent of whatever its descendants leave behind."""
    _prctl(_SET_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent has ended."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def confine(*, writable: Sequence[str], modes: bool, network: bool, processes: bool) -> None:
    """Give up everything else, for this process and all that it starts.

    Args:
        writable: folders and files that may be written to.
        modes: whether permissions, owners and times of files may be changed, anywhere.
        network: whether sockets may be opened.
        processes: whether other processes may be started, and signals sent to them.
    """
    if sys.platform != "linux":
        return
    _drop_capabilities()
    _prctl(_NO_NEW_PRIVILEGES, 1)  # no program started from here gains rights; both of the following ask for it
    with suppress(OSError):
        _restrict_files([*writable, os.devnull])
    if platform.machine() in _ARCHITECTURES and sys.maxsize > 1 << 32:
        program = _filter(modes=modes, network=network, processes=processes)
        buffer = ctypes.create_string_buffer(program)
        _prctl(_SET_SECCOMP, 2, struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))


def _restrict_files(writable: Sequence[str]) -> None:
    version = _syscall(_CREATE, None, 0, 1)
    on_files, in_folders, scopes = (
        sum(bits for since, bits in table.items() if since <= version) for table in (_ON_FILES, _IN_FOLDERS, _SCOPES)
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _syscall(_CREATE, struct.pack("=QQQ", on_files | in_folders, 0, scopes), size, 0)
    for path in writable:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        access = on_files | in_folders if os.path.isdir(path) else on_files
        _syscall(_ADD, rules, 1, struct.pack("=Qi", access, handle), 0)
        os.close(handle)
    _syscall(_RESTRICT, rules, 0)
    os.close(rules)


def _filter(*, modes: bool, network: bool, processes: bool) -> bytes:
    """The filter as a BPF program of 8 bytes an instruction: blocks that decide one system call each, else allow."""
    column, architecture = _ARCHITECTURES[platform.machine()]
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _refusal()),
    ]
    code.append((_LOAD, 0, 0, 0))
    if column == 0:  # x32, the other set of numbers of this machine
        code += [(_IF_AT_LEAST, 0, 1, 1 << 30), (_RETURN, 0, 0, _refusal())]

    def decide(call: _Call, *block: tuple[int, int, int, int]) -> None:
        if (number := call[column]) is not None:
            code.extend([(_IF_EQUAL, 0, len(block), number), *block])

    def refuse(calls: Sequence[_Call], error: int = errno.EPERM) -> None:
        for call in calls:
            decide(call, (_RETURN, 0, 0, _refusal(error)))

    def argument_among(call: _Call, position: int, mask: int, values: Sequence[int], *, allow: bool) -> None:
        """Allow the call if its argument, masked, is one of the values, else refuse; or the other way round."""
        jumps = [(_IF_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
        others, those = (_refusal(), _ALLOW) if allow else (_ALLOW, _refusal())
        load = ((_LOAD, 0, 0, 16 + 8 * position), (_AND, 0, 0, mask))
        decide(call, *load, *jumps, (_RETURN, 0, 0, others), (_RETURN, 0, 0, those))

    refuse(_NEVER)
    refuse(_PRIORITIES)
    argument_among(_PRCTL, 0, 0xFFFFFFFF, [_SET_DEATH_SIGNAL], allow=False)
    for call, requests in _OWNERS:
        argument_among(call, 1, 0xFFFFFFFF, requests, allow=False)
    for call in _LIMITS_OF if processes else (*_LIMITS_OF, *_SIGNALS):
        argument_among(call, 0, 0xFFFFFFFF, [0, os.getpid()], allow=True)
    if not modes:
        refuse(_MODES)
    if not network:
        refuse([_SOCKET])  # local ones too: other programs of this user listen there and take orders
        argument_among(_SOCKETPAIR, 1, 0xF, [socket.SOCK_STREAM], allow=True)  # datagrams could be sent elsewhere
    if not processes:
        refuse([*_FORKS, *_SIGNALS_TO_THREADS])
        refuse([_CLONE3], errno.ENOSYS)  # its flags cannot be seen; libraries fall back to clone
        argument_among(_CLONE, 0, _CLONE_THREAD, [_CLONE_THREAD], allow=True)
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _refusal(error: int = errno.EPERM) -> int:
    return _REFUSE | error


def _drop_capabilities() -> None:
    assert _LIBC is not None
    header, data = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    if _LIBC.capget(header, data) == 0:
        effective, permitted, *_ = struct.unpack("=6I", data.raw)
        _LIBC.capset(header, struct.pack("=6I", effective & _DAC, permitted & _DAC, 0, 0, 0, 0))


def _prctl(option: int, value: int, more: bytes | None = None) -> None:
    if _LIBC is not None:
        _LIBC.prctl(option, ctypes.c_ulong(value), more, ctypes.c_ulong(0), ctypes.c_ulong(0))


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    assert _LIBC is not None
    typed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = _LIBC.syscall(ctypes.c_long(number), *typed)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
