"""What the sub-commands of `vdit` do; imported only when they run."""
