"""A small ext4 of its own in an image file, mounted by a loop device: what is on it can be filled to the last byte."""

import errno
import os
import pathlib
import shutil
import subprocess
import tempfile

#: Mounting needs root.
ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
MIB = 1024 * 1024


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


class Disk:
    """A mounted file system of so many MiB. `close` takes it away, in whatever state it is; tests/run does so
    with what a killed test left in $MUBROKER_DISKS."""

    def __init__(self, mib):
        # A short path: a unix socket's is at most 107 bytes.
        parent = os.environ.get("MUBROKER_DISKS") or None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mubdisk", dir=parent))
        self.image = self.folder / "image"
        self.path = self.folder / "data"
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(mib * MIB)
        self.mounted = False
        try:
            # No blocks set aside for root: a test as root would go on where a broker could not.
            run("mkfs.ext4", "-q", "-m", "0", "-F", self.image)
            run(*ROOT, "mount", "-o", "loop", self.image, self.path)
            self.mounted = True
            run(*ROOT, "chown", f"{os.getuid()}:{os.getgid()}", self.path)
        except BaseException:
            self.close()
            raise

    def free(self):
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave=0):
        """Somebody else's file takes all but `leave` bytes; returns it."""
        path = self.path / "somebody-elses"
        with open(path, "ab") as file:
            while (size := min(self.free() - leave, 64 * MIB)) > 0:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                    file.seek(0, os.SEEK_END)
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
                    break
        return path

    def close(self):
        if self.mounted:
            # The loop device goes with the mount (autoclear), a lazy one's when the last file is closed.
            if subprocess.run([*ROOT, "umount", str(self.path)], capture_output=True).returncode:
                run(*ROOT, "umount", "--lazy", self.path)
            self.mounted = False
        shutil.rmtree(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
