"""What meshlite costs and how quick it is, measured on this machine: `python -m bench`."""
