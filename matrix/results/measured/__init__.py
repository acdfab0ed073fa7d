"""What stages measured, beyond times: figures that noise cannot touch.

From outside: `counts` has the instructions of a call over the releases.
"""
