"""Start-up of the kernel that executes the pages: %%bash cells whose output is kept whole.

IPython's own %%bash passes output on in pieces of a hundred bytes, and the kernel asks every
program for colours; neither reads well on a page.
"""

import os
import subprocess
import sys

from IPython.core.magic import register_cell_magic


@register_cell_magic
def bash(line: str, cell: str) -> None:
    """Run the cell; first what it says on stdout, then what it says on stderr."""
    coloured = ("FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")
    environment = {key: value for key, value in os.environ.items() if key not in coloured}
    done = subprocess.run(["bash", "-c", cell], env=environment, capture_output=True, text=True)
    sys.stdout.write(done.stdout)
    sys.stdout.flush()
    sys.stderr.write(done.stderr)
    done.check_returncode()
