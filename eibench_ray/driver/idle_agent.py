"""Stands in the place of Ray's agent on a node that nobody watches, as a program: it ends with the node."""

import os
import time

if __name__ == "__main__":
    node = os.getppid()
    while os.getppid() == node:
        time.sleep(1)
