"""A worker that hashes yields its cores; tried in processes of their own, since nobody becomes less nice again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.niceness import AUTOGROUP

#: Than the tests are; it cannot be more than 19.
NICER = str(min(os.nice(0) + 7, 19))
YIELD = """
import os, sys
from pathlib import Path
from worker.niceness import yield_cores
yield_cores(int(sys.argv[1]), Path(sys.argv[2]))
print(os.nice(0), *Path("/proc/self/autogroup").read_text().split() if sys.argv[2].startswith("/proc") else ())
"""


def yielded(niceness: int, autogroup: Path, *, leads_a_session: bool) -> list[str]:
    """The niceness of a process that has yielded its cores, and its autogroup as the kernel shows it, if it is that."""
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


def test_a_session_of_its_own_is_as_nice(autogroup: Path) -> None:
    """Or it would have as large a share as every other session, however nice it is in its own."""
    assert yielded(7, autogroup, leads_a_session=True) == [NICER]
    assert autogroup.read_text() == "7"


def test_a_session_that_is_shared_stays_as_it_is(autogroup: Path) -> None:
    """What else was started from the same terminal is not made to yield."""
    assert yielded(7, autogroup, leads_a_session=False) == [NICER]
    assert autogroup.read_text() == "untouched"


def test_who_is_to_yield_nothing_changes_nothing(autogroup: Path) -> None:
    """`AUTH_PASSWORD_NICE=0`."""
    assert yielded(0, autogroup, leads_a_session=True) == [str(os.nice(0))]
    assert autogroup.read_text() == "untouched"


def test_a_system_without_sessions_of_that_kind(tmp_path: Path) -> None:
    """Its niceness is all there is."""
    assert yielded(7, tmp_path / "nowhere" / "nothing", leads_a_session=True) == [NICER]


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroups")
def test_the_kernel_takes_it() -> None:
    """As sched(7) says it is written."""
    assert yielded(7, AUTOGROUP, leads_a_session=True)[-2:] == ["nice", "7"]
