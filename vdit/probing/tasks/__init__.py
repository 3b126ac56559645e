"""Tasks of learned probes, one file each."""
