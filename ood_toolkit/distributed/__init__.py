"""One machine to many with Dask: the same parts, the same bits, on any number of workers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

del lazy_loader
