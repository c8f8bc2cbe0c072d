"""Scripts that make the shipped benchmarks from their sources; not installed.

`python -m data.build.fashion` and `python -m data.build.digits`, from the top of the
checkout.  Both need torch and scikit-learn.
"""
