"""The server through the AWS SDK for JavaScript (sdk_test.cjs), with the variables that `quickstep serve` prints.

Usage: sdk_test.py PATH_OF_QUICKSTEP PATH_OF_NODE FOLDER_OF_NODE_MODULES
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from boto3_test import Server


def main():
    binary, node, modules = (str(Path(argument).absolute()) for argument in sys.argv[1:4])
    with tempfile.TemporaryDirectory() as home, Server(binary) as server:
        environment = {"PATH": os.environ["PATH"], "HOME": home, "NODE_PATH": modules, **server.environment()}
        script = Path(__file__).with_suffix(".cjs")
        subprocess.run([node, "--no-warnings", str(script)], env=environment, check=True, timeout=300)


if __name__ == "__main__":
    main()
