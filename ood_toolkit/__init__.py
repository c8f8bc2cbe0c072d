"""Post-hoc uncertainty and out-of-distribution detection for trained classifiers.

Everything public is loaded when it is first used, so that importing the package stays
quick; `__init__.pyi` is the one list of names.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = version("ood_toolkit")

del version, lazy_loader
