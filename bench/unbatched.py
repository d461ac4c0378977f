"""The inference component with a bridge that answers one request at a time, to compare with."""

import runpy

from interface.bridge import Limits

if __name__ == "__main__":
    defaults = Limits.__init__.__kwdefaults__
    assert defaults is not None
    assert "max_batch" in defaults
    defaults["max_batch"] = 1
    runpy.run_module("container", run_name="__main__")
