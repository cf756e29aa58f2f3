"""The installed client checked by pyright; tests/e2e/client/test_types.py does the same with mypy."""

import asyncio
import json
import subprocess
from pathlib import Path

from tests.e2e.client.installation import DISTRIBUTION, TIMEOUT_SECONDS, Installation, run
from tests.e2e.client.typos import PROGRAM, typo_lines
from tests.interop.programs import program

#: A fixed version, so that a new check of a newer one does not fail this test.
PYRIGHT = "pyright@1.1.406"


async def test_misspelled_argument_is_an_error_to_pyright(tmp_path: Path) -> None:
    npm, node = program("npm"), program("node")
    installation = await Installation.of(tmp_path, f"{DISTRIBUTION}[fastapi]")
    await run(npm, "install", "--no-save", "--no-audit", "--no-fund", PYRIGHT, cwd=tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pyrightconfig.json").write_text('{"include": ["program.py"], "typeCheckingMode": "strict"}')
    checked = await asyncio.to_thread(
        subprocess.run,
        [node, "node_modules/pyright/index.js", "--outputjson", "--pythonpath", str(installation.bin / "python")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    found = json.loads(checked.stdout)["generalDiagnostics"]
    lines = {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}
    assert sorted(lines) == typo_lines(), checked.stdout
