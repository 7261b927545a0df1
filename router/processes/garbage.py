"""How often Python looks for garbage: a process that serves has made by then most of what it keeps."""

import gc
from typing import Final

_THRESHOLDS: Final = (50_000, 20, 100)


def keep_what_there_is() -> None:
    """Look once more, then never again at what is there now, and seldom at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
