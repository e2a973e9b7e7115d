"""What the sandbox does to a process needs a process of its own: it is tested through its user, in test_verifier.py."""

from didact.tasks.sandbox import Sandbox, environment


def test_settings_travel() -> None:
    sandbox = Sandbox(memory=1 << 30, processes=2, network=True, writable=("/a", "/b c"))
    assert Sandbox.from_json(sandbox.to_json()) == sandbox
    assert Sandbox.from_json(Sandbox().to_json()) == Sandbox()


def test_only_what_is_needed_and_named_is_passed_on() -> None:
    given = {"PATH": "/bin", "LC_ALL": "C", "HOME": "/home/me", "KEY": "k", "SECRET": "s", "LD_PRELOAD": "x.so"}
    private = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/private"}
    kept = {**private, "PATH": "/bin", "LC_ALL": "C"}
    assert environment((), "/private", given) == {**kept, "HOME": "/private"}
    assert environment(("KEY", "HOME"), "/private", given) == {**kept, "HOME": "/home/me", "KEY": "k"}
