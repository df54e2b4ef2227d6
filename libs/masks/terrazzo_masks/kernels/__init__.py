"""Loops over pixels, compiled by numba (see `terrazzo_masks.native`). Not public: the modules above call them.

A kernel takes and returns arrays and numbers, checks nothing and never reads outside its arrays: whoever calls it
has checked sizes and dtypes. Each module here has a `warm()`.
"""
