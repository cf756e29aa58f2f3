"""Files that no other user of the machine can read, not even between creation and chmod.

There are two safeguards, since one may be removed by mistake: only the owner may enter the directory, and
none of its files is world-readable. The files get the directory's group.
"""

import os
import stat
import tempfile
from pathlib import Path

#: Containers run as other users that have the files' group (`SECRETS_GID` in docker-compose.prod.yml).
GROUP_READS = 0o440
OWNER_READS = 0o400
_DIRECTORY_MODE = 0o700


def close_directory(directory: Path) -> tuple[str, ...]:
    """Create the directory or restrict it to its owner; return the files that other users could read until now.

    Raises `ValueError` if another user owns the directory or a file in it: that user could read it and grant
    access again. Also raises it if the files cannot get the directory's group.
    """
    directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    found = directory.stat()
    for path, owner in ((directory, found.st_uid), *((path, path.lstat().st_uid) for path in _files(directory))):
        if owner != os.geteuid():
            raise ValueError(
                f"{path} belongs to user {owner} and must be yours: run this as that user, or move the file away"
            )
    if os.geteuid() != 0 and found.st_gid not in {os.getegid(), *os.getgroups()}:
        raise ValueError(
            f"{directory} has group {found.st_gid}, of which you are no member: change it with chgrp to one of yours"
        )
    exposed = [path.name for path in _files(directory) if _readable(found.st_mode, path.lstat().st_mode)]
    directory.chmod(_DIRECTORY_MODE)
    return tuple(sorted(exposed))


def write_private(path: Path, content: str | bytes, mode: int) -> None:
    """Create or replace a file atomically. Open descriptors of the old file, and hard links to it, do not change."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, -1, path.parent.stat().st_gid)
        os.fchmod(descriptor, mode)
        file.write(content.encode() if isinstance(content, str) else content)
    Path(draft).replace(path)


def protect_file(path: Path, mode: int) -> None:
    """Replace the file by a copy unless it already has this mode, the directory's group and no hard links.

    A hard link would give access to later content of the file.
    """
    found = path.lstat()
    as_wanted = (stat.S_IMODE(found.st_mode), found.st_nlink, found.st_gid) == (mode, 1, path.parent.stat().st_gid)
    if stat.S_ISREG(found.st_mode) and not as_wanted:
        write_private(path, path.read_bytes(), mode)


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if stat.S_ISREG(path.lstat().st_mode)]


def _readable(directory: int, file: int) -> bool:
    """Return whether another user could enter the directory and read a file whose name is known."""
    passed_by_others, passed_by_group = directory & stat.S_IXOTH, directory & stat.S_IXGRP
    return bool((passed_by_others and file & stat.S_IROTH) or (passed_by_group and file & stat.S_IRGRP))
