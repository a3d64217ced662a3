"""The signals that ask a run to save and stop."""

import signal

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
"""Most are sent to a whole process group, the simulators' processes too; they are the trainer's to handle."""
