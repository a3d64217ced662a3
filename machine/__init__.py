"""The machine a run lives on: its cores, its device and precision, its compiler."""
