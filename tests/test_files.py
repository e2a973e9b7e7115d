import os
import stat
import subprocess
import sys
from hashlib import blake2b

import pytest

from didact.files import digest, locked, write_whole


def test_the_new_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "state.json"
    write_whole(path, "old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_the_mode_is_that_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "whole", "")
    assert stat.S_IMODE((tmp_path / "whole").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    write_whole(path, "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "state.json.tmp").symlink_to(victim)
    write_whole(tmp_path / "state.json", "new")
    assert victim.read_text() == "mine"
    assert (tmp_path / "state.json").read_text() == "new"
    assert not (tmp_path / "state.json").is_symlink()


def test_several_writers_of_one_path_take_turns(tmp_path):
    path = tmp_path / "page.html"
    code = (
        "import sys; from didact.files import write_whole\n"
        f"for _ in range(30): write_whole({str(path)!r}, sys.argv[1] * 200_000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, letter]) for letter in "abc"]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen = path.read_text()
            assert len(seen) == 200_000
            assert len(set(seen)) == 1
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_digest(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert digest(tmp_path / "file") == blake2b(b"abc", digest_size=16).hexdigest()


def test_one_holder_at_a_time(tmp_path):
    with (
        locked(tmp_path / ".lock"),
        pytest.raises(ValueError, match=f"another process is working on {tmp_path}"),
        locked(tmp_path / ".lock"),
    ):
        pass
    with locked(tmp_path / ".lock"):
        pass


def test_a_lock_ends_with_its_process(tmp_path):
    code = f"import os, didact.files as f; lock = f.locked({str(tmp_path / '.lock')!r}); lock.__enter__(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    with locked(tmp_path / ".lock"):
        pass
