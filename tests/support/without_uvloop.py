"""The import of this module makes uvloop unavailable, as it is on some platforms."""

import sys

sys.modules["uvloop"] = None
