"""An output on its way to the disk: a hidden file or folder beside its target, which gets the name when it is whole."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from weightmath.checkpoint.description import Checkpoint
from weightmath.checkpoint.image import Companion, Image
from weightmath.checkpoint.lock import acquire, being_written, hidden, open_own
from weightmath.errors import OutputError, unwritable
from weightmath.text_files import check_folder

_OF_A_MODEL = (  # endings of the names of files
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json", ".txt", ".model", ".jinja", ".tiktoken", ".py", ".md",
    "LICENSE", "NOTICE", "USE_POLICY", ".gitattributes",
)  # fmt: skip
_FOLDERS_OF_A_MODEL = ("additional_chat_templates",)
_NO_DEVICE = 0  # the major number of what lies in memory, or elsewhere
_NEAR, _MOST = 1 << 12, 1 << 20  # bytes between pieces that cost less than a second write; bytes of one


class Draft:
    """The files of an output under hidden names. `part` is the file or folder that holds them.

    resume    keep what an earlier draft of the same image has left
    """

    def __init__(self, image: Image, path: Path, *, force: bool, resume: bool = False, durable: bool = True) -> None:
        self.path = path
        self._image = image
        self._force = force
        self._resume = resume
        self._durable = durable
        check_target(path, image, force=force)
        self.part = hidden(path, "part")
        self._old = hidden(path, "old")
        self._lock: int | None = None
        self._files: list[int] = []

    def create(self) -> None:
        """Create the files with their full size, so that a full disk is known at once where there is one.

        OutputError if they do not fit the disk, or if another process is writing this output.
        """
        try:
            self._lock_part()
            self._settle_old()
            needed, free = self._image.size - left_bytes(self.path), shutil.disk_usage(self.path.parent).free
            if free < needed:
                raise OutputError(f"needs {needed:,} bytes; the disk has {free:,}", where=str(self.path))
            for number, file in enumerate(self._image.files):
                self._files.append(open_own(self.path_of(number), create=True))
                _allocate(self._files[-1], file.size)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def _lock_part(self) -> None:
        """Make the hidden file or folder and lock it; empty, unless an earlier draft is resumed."""
        while self._lock is None:
            lock = acquire(self.part, self._make_part)
            if lock is None:
                raise being_written(self.path)
            if self.part.is_dir() == self._image.is_folder:
                self._lock = lock
            else:
                _remove(self.part)
                os.close(lock)
        if not self._resume and self._image.is_folder:
            for one in self.part.iterdir():
                _remove(one)
        elif not self._resume:
            os.ftruncate(self._lock, 0)

    def _make_part(self) -> None:
        if self._image.is_folder and not self.part.exists():
            self.part.mkdir(exist_ok=True)
        elif not self.part.exists():
            os.close(open_own(self.part, create=True))

    def _settle_old(self) -> None:
        """A folder that stepped aside for a draft that was killed: it is back, or gone if another took its place."""
        if self._old.exists() and self.path.exists():
            shutil.rmtree(self._old)
        elif self._old.exists():
            os.rename(self._old, self.path)

    def path_of(self, file: int) -> Path:
        """Where a file of the output lies now."""
        return self.part / self._image.files[file].name if self._image.is_folder else self.part

    def put(self, file: int, position: int, content: memoryview) -> None:
        """Write bytes into one of the files; from any thread."""
        try:
            done = os.pwrite(self._files[file], content, position)
            while done < len(content):
                done += os.pwrite(self._files[file], content[done:], position + done)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def put_around(self, file: int, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Write pieces around what is written already; those near each other together, with what lies between."""
        run: list[tuple[int, bytes]] = []
        start = end = 0
        for position, content in pieces:
            if run and not (0 <= position - end <= _NEAR and end - start < _MOST):
                self._put_together(file, run, end)
                run = []
            start = position if not run else start
            end = position + len(content)
            run.append((position, content))
        if run:
            self._put_together(file, run, end)

    def _put_together(self, file: int, run: Sequence[tuple[int, bytes]], end: int) -> None:
        start = run[0][0]
        whole = bytearray(self.read(file, start, end - start) if len(run) > 1 else run[0][1])
        for position, content in run:
            whole[position - start : position - start + len(content)] = content
        self.put(file, start, memoryview(whole))

    def read(self, file: int, position: int, size: int) -> bytes:
        """Bytes that were written before."""
        return os.pread(self._files[file], size, position)

    def flush(self) -> None:
        """Add the companions, and see to it that all is on the disk; nothing can be written afterwards."""
        try:
            for companion in self._image.companions:
                _add(companion, self.part)
            for file in self._files if self._durable else ():
                os.fsync(file)
            if self._image.is_folder and self._durable:
                sync_folder(self.part)
        except OSError as error:
            raise unwritable(self.path, error) from None
        self.close()

    def publish(self) -> None:
        """Give the flushed files their name, in one step that cannot be seen half done.

        A folder that is there already steps aside first: for a moment there is none under the name.
        """
        if self._files:
            raise OutputError("is not committed yet", where=str(self.path))
        check_target(self.path, self._image, force=self._force)
        try:
            if self._image.is_folder and self.path.exists():
                os.rename(self.path, self._old)
                os.rename(self.part, self.path)
                if self._durable:
                    sync_folder(self.path.parent)
                shutil.rmtree(self._old)
            else:
                os.replace(self.part, self.path)
                if self._durable:
                    sync_folder(self.path.parent)
        except OSError as error:
            raise unwritable(self.path, error) from None
        self.release()

    def close(self) -> None:
        """Close the files; harmless if they are closed."""
        while self._files:
            os.close(self._files.pop())

    def release(self) -> None:
        """Close the files and let others work on them; what is hidden stays. Harmless if it was called before."""
        self.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove the hidden files; harmless after `publish` and `release`."""
        if self._lock is not None:
            _remove(self.part)
        self.release()


def left_bytes(path: Path) -> int:
    """Bytes on the disk that an unfinished draft of an output takes already."""
    return bytes_on_disk(hidden(path, "part"))


def bytes_on_disk(path: Path) -> int:
    """What a file, or all in a folder, takes there."""
    return sum(os.stat(file).st_blocks * 512 for file in (path, *path.rglob("*")) if file.is_file())


def check_target(path: Path, image: Image, *, force: bool) -> None:
    """OutputError where an output cannot get its name: what is there already is of another kind, or not to be lost.

    force   what is there may be replaced: a file by a file, a folder that holds nothing but a model by a folder
    """
    where = str(path)
    check_folder(path)
    if not path.exists():
        return
    if path.is_dir() and not image.is_folder:
        hint = f"name a file in it: {path / 'merged.ckpt'}; or write `{path.name}/` for a folder of safetensors"
        raise OutputError("is a folder", where=where, hint=hint)
    if not path.is_dir() and image.is_folder:
        raise OutputError("is a file, and the output a folder", where=where, hint="choose another name")
    if holds(path, image.template):
        raise OutputError("is the template: an output never replaces an input", where=where)
    if image.is_folder and not any(path.iterdir()):
        return
    if not force:
        raise OutputError("exists", where=where, hint="choose another name, or allow it with --force")
    if image.is_folder:
        _check_replaceable(path)


def holds(path: Path, checkpoint: Checkpoint) -> bool:
    """Whether an existing file is one of a checkpoint's, or an existing folder holds one of them."""
    if not path.is_dir():
        return any(os.path.samefile(path, file) for file in checkpoint.files)
    ways = (way for file in checkpoint.files for way in (file.absolute(), file.resolve()))
    return any(os.path.samefile(path, folder) for way in ways for folder in way.parents)


def _check_replaceable(folder: Path) -> None:
    others = sorted(one.name for one in folder.iterdir() if not _is_of_a_model(one))
    if others:
        raise OutputError(
            f"holds more than a model (`{others[0]}`), and would be lost as a whole",
            where=str(folder),
            hint="choose another name, or remove the folder yourself",
        )


def _is_of_a_model(path: Path) -> bool:
    return path.name in _FOLDERS_OF_A_MODEL if path.is_dir() else path.name.endswith(_OF_A_MODEL)


def _add(companion: Companion, folder: Path) -> None:
    target = folder / companion.name
    target.parent.mkdir(exist_ok=True)
    with companion.source.open("rb") as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(copy.fileno())


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; harmless if there is none."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _allocate(file: int, size: int) -> None:
    """Give a file its size and, on a disk, its blocks.

    What is no block device, be it memory or a network, would write all of them to do so: in memory that takes as long
    as a quarter of an average, and one process.
    """
    if os.major(os.fstat(file).st_dev) == _NO_DEVICE:
        os.ftruncate(file, size)
        return
    try:
        os.posix_fallocate(file, 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        os.ftruncate(file, size)
