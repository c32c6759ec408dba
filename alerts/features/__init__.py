"""What an alert looks like: numbers of its light curve, from the packet's own history and nothing else."""
