"""A child process of the server that answers tasks (`exec` of --tasks): it asks the runner of the recorded cases.

Usage: relay.py PORT
"""

import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    answers = connection.makefile("rb")
    for line in sys.stdin.buffer:
        connection.sendall(line)
        answer = answers.readline()
        if not answer:
            break
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
