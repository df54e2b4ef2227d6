"""Runs a command for as long as the one who asked for it lives.

    python lifeline.py COMMAND ARGUMENT...

Standard input is the lifeline: when it ends (its other end was closed, by whatever killed that
process) the command is told to end, and made to after a minute. SIGTERM is passed on. The exit status
is the command's, 128 + n when signal n killed it. Runs by its path, without site-packages: it must
cost nothing.
"""

import os
import signal
import subprocess
import sys
import threading

PATIENCE_S = 60.0


def main(command: list[str]) -> int:
    # A SIGTERM that comes before there is a command waits until there is one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        close_fds=False,  # the command holds the run's lock too
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM}),  # no threads yet
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def watch() -> None:
        while os.read(0, 4096):
            pass
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    # Without the interpreter's own ending, which would stumble over the thread that still reads.
    os._exit(main(sys.argv[1:]))
