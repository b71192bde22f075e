"""Kiln's managed Python runtime: the program that an execution environment runs."""

import os
import sys


def set_search_path():
    """Puts the function's code and its layers before everything else, as Lambda does."""
    version = "python%d.%d" % sys.version_info[:2]
    first = [
        os.environ.get("LAMBDA_TASK_ROOT", os.getcwd()),
        "/opt/python/lib/%s/site-packages" % version,
        "/opt/python",
    ]
    # The interpreter has put the directory of this file, /var/runtime, in front;
    # PYTHONPATH may name it again.
    sys.path[:] = list(dict.fromkeys(first + sys.path))


if __name__ == "__main__":
    from kiln_runtime import loop

    set_search_path()
    loop.run()
