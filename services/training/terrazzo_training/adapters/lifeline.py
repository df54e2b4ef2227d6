"""Runs a command for as long as the one who asked for it lives.

    python lifeline.py COMMAND ARGUMENT...

Standard input is the lifeline: when it ends (its other end was closed, by whatever killed that
process) the command is told to end, and made to after a minute. SIGTERM is passed on. The exit status
is the command's, 128 + n when signal n killed it. Runs by its path, without site-packages: it must
cost nothing.
"""

import signal
import subprocess
import sys
import threading

PATIENCE_S = 60.0


def main(command: list[str]) -> int:
    # close_fds=False: the command holds the run's lock too.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())

    def watch() -> None:
        sys.stdin.buffer.read()
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
