"""The benchmarks that ship with `ood_toolkit`: what small classifiers said about real images.

Nothing here is code.  `ood_toolkit.datasets.load_benchmark` reads the files beside this
module and checks them against `manifest.json`.
"""
