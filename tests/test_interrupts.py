"""Signals, sent to processes of their own."""

import signal
import subprocess
import sys

import pytest

WAIT = """
import os, signal, time
from didact.interrupts import Interrupts, leave_at_once
signal.signal(signal.SIGINT, {sigint})
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it (nohup), and children inherit that
leave_at_once(lambda: "left")
with Interrupts(lambda: print("told", flush=True)) as interrupts:
    for number in {numbers}:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
    print("asked" if interrupts.asked else "not asked", flush=True)
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.01)
print("end", flush=True)
"""
INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.mark.parametrize(
    ("sigint", "numbers", "out", "err", "code"),
    [
        ("signal.default_int_handler", [], "not asked", "left", 130),
        ("signal.default_int_handler", [INT], "told asked", "left", 130),
        ("signal.default_int_handler", [INT, INT], "told", "left", 130),
        ("signal.default_int_handler", [TERM, INT], "told", "left", 130),
        ("signal.default_int_handler", [INT, TERM], "told", "", -TERM),
        ("signal.default_int_handler", [HUP, HUP], "told asked", "left", 130),
        ("signal.default_int_handler", [HUP, INT, INT], "told", "left", 130),
        ("signal.SIG_IGN", [INT, INT], "not asked end", "", 0),
        ("signal.SIG_IGN", [TERM, INT], "told asked end", "", 0),
    ],
)
def test_what_each_signal_does(sigint, numbers, out, err, code):
    program = WAIT.format(sigint=sigint, numbers=[int(number) for number in numbers])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr.split(), done.returncode) == (out.split(), err.split(), code)


def test_in_a_library_the_second_ctrl_c_is_python_s_own():
    program = WAIT.replace("leave_at_once(lambda", "(lambda").format(
        sigint="signal.default_int_handler", numbers=[int(INT), int(INT)]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "told\n"
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_signals_that_are_counted_do_nothing_else():
    program = WAIT.replace("flush=True)) as interrupts", "flush=True), counted=True) as interrupts").replace(
        '"asked" if interrupts.asked else "not asked"', "interrupts.asked"
    )
    numbers = [int(number) for number in (HUP, HUP, INT, TERM, HUP)]
    program = program.format(sigint="signal.default_int_handler", numbers=numbers)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr.split(), done.returncode) == (["told", "3"], ["left"], 130)


def test_outside_the_main_thread_nothing_is_done():
    program = (
        "import threading\nfrom didact.interrupts import Interrupts, leave_at_once\n"
        "def work():\n    leave_at_once(lambda: '')\n    with Interrupts(print) as interrupts:\n"
        "        print(interrupts.asked)\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "0\n"
