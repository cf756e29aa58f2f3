"""Files that no other user of the machine can read: not later, and not for the moment between creation and chmod.

Two locks, because either may be opened by mistake: the directory is for its owner alone, and no file in it is readable
by everybody. The files' group is that of the directory.
"""

import os
import stat
import tempfile
from pathlib import Path

#: Containers run as users of their own, and get the files' group (`SECRETS_GID` in docker-compose.prod.yml).
GROUP_READS = 0o440
OWNER_READS = 0o400
_DIRECTORY_MODE = 0o700


def close_directory(directory: Path) -> tuple[str, ...]:
    """Create the directory, or take it away from everybody but its owner; return the files that others could read.

    Raises `ValueError` if the directory or a file in it is another user's, who could open it again and may know what it
    says, or if the files could not have the directory's group.
    """
    directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    found = directory.stat()
    for path, owner in ((directory, found.st_uid), *((path, path.lstat().st_uid) for path in _files(directory))):
        if owner != os.geteuid():
            raise ValueError(
                f"{path} belongs to user {owner} and is expected to be yours: run this as that user, or move it away"
            )
    if os.geteuid() != 0 and found.st_gid not in {os.getegid(), *os.getgroups()}:
        raise ValueError(
            f"{directory} has group {found.st_gid}, which is not yours: give it one of yours, as with chgrp"
        )
    exposed = [path.name for path in _files(directory) if _readable(found.st_mode, path.lstat().st_mode)]
    directory.chmod(_DIRECTORY_MODE)
    return tuple(sorted(exposed))


def write_private(path: Path, content: str | bytes, mode: int) -> None:
    """Create or replace a file at once. Open descriptors of the old one, and hard links to it, keep the old content."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, -1, path.parent.stat().st_gid)
        os.fchmod(descriptor, mode)
        file.write(content.encode() if isinstance(content, str) else content)
    Path(draft).replace(path)


def protect_file(path: Path, mode: int) -> None:
    """Replace the file by a copy of this mode, unless it has the mode and the directory's group, and no other name.

    Another name, a hard link, would go on reading what is later written into the file.
    """
    found = path.lstat()
    as_wanted = (stat.S_IMODE(found.st_mode), found.st_nlink, found.st_gid) == (mode, 1, path.parent.stat().st_gid)
    if stat.S_ISREG(found.st_mode) and not as_wanted:
        write_private(path, path.read_bytes(), mode)


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if stat.S_ISREG(path.lstat().st_mode)]


def _readable(directory: int, file: int) -> bool:
    """Whether somebody besides the owner could pass the directory and read the file, its name being known."""
    passed_by_others, passed_by_group = directory & stat.S_IXOTH, directory & stat.S_IXGRP
    return bool((passed_by_others and file & stat.S_IROTH) or (passed_by_group and file & stat.S_IRGRP))
