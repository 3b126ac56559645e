"""V-WALT beside I-WALT: what probes of trained networks give, put together to tables and figures.

Reference: From Image to Video: An Empirical Study of Diffusion Representations, arXiv 2502.07001.
"""
