"""`python -m consumer`: the sample component, started by a nucleus."""

import sys

from consumer.component import main
from interface.greengrass import connect

if __name__ == "__main__":
    sys.exit(main(connect))
