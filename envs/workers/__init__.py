"""Worker processes that hold the simulators, and the trainer's side of them."""
