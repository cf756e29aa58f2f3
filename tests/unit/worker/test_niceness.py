"""The niceness of a worker that hashes, tried in other processes because a process cannot lower its own again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.niceness import AUTOGROUP

#: The expected niceness, above that of the tests; the maximum is 19.
NICER = str(min(os.nice(0) + 7, 19))
YIELD = """
import os, sys
from pathlib import Path
from worker.niceness import yield_cores
yield_cores(int(sys.argv[1]), Path(sys.argv[2]))
print(os.nice(0), *Path("/proc/self/autogroup").read_text().split() if sys.argv[2].startswith("/proc") else ())
"""


def yielded(niceness: int, autogroup: Path, *, leads_a_session: bool) -> list[str]:
    """Return the niceness of a process after `yield_cores`, and its autogroup if the kernel has one."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own text
        [sys.executable, "-c", YIELD, str(niceness), str(autogroup)],
        start_new_session=leads_a_session,
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    return done.stdout.split()


@pytest.fixture
def autogroup(tmp_path: Path) -> Path:
    file = tmp_path / "autogroup"
    file.write_text("untouched")
    return file


def test_process_with_its_own_session_sets_its_autogroup(autogroup: Path) -> None:
    """Otherwise the scheduler gives the session a full share regardless of the niceness in it."""
    assert yielded(7, autogroup, leads_a_session=True) == [NICER]
    assert autogroup.read_text() == "7"


def test_process_in_a_shared_session_leaves_its_autogroup(autogroup: Path) -> None:
    """Other programs of the same terminal must not be slowed down."""
    assert yielded(7, autogroup, leads_a_session=False) == [NICER]
    assert autogroup.read_text() == "untouched"


def test_niceness_of_zero_changes_nothing(autogroup: Path) -> None:
    """`AUTH_PASSWORD_NICE=0`."""
    assert yielded(0, autogroup, leads_a_session=True) == [str(os.nice(0))]
    assert autogroup.read_text() == "untouched"


def test_system_without_autogroups_sets_only_the_niceness(tmp_path: Path) -> None:
    assert yielded(7, tmp_path / "nowhere" / "nothing", leads_a_session=True) == [NICER]


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroups")
def test_kernel_accepts_the_autogroup_value() -> None:
    """The format is that of sched(7)."""
    assert yielded(7, AUTOGROUP, leads_a_session=True)[-2:] == ["nice", "7"]
