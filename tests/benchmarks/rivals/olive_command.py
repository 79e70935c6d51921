"""An Olive command on an ONNX file: SOURCE CALIBRATION DONE COMMAND ARGUMENTS."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

source, _, done, *command = sys.argv[1:]
olive = Path(sys.executable).with_name("olive")
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([str(olive), command[0], "-m", source, *command[1:], "-o", folder], check=True)
    found = sorted(Path(folder).rglob("*.onnx"))
    shutil.copyfile(found[0], done)
