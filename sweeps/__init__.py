"""Many runs of one comparison, arms and seeds, on this machine or on many, and its answer."""
