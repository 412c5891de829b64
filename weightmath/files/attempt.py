"""One try at a job: it goes on where an earlier one was stopped, and leaves what it has done to the next.

Beside the first output lies a journal, beside each output what is written of it, under hidden names that follow from
the outputs'. Both are locked, so that a second run to one target is refused, and both stay when a run is killed,
interrupted, or stopped by a disk. A run whose numbers are wanting (`expect`, NaN) would fail again and leaves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from weightmath.checkpoint import Checkpoint, Writer
from weightmath.checkpoint.description import Stamp
from weightmath.checkpoint.draft import sync_folder
from weightmath.checkpoint.lock import being_written, hidden, is_locked
from weightmath.engine.journal import JournalFile
from weightmath.errors import CheckpointError, DiskError, WeightmathError
from weightmath.files.identity import differences
from weightmath.files.outputs import Save

KEPT = "what is done is kept: the same run goes on from there, and `weightmath clean` removes it"
_STOPPED = (DiskError, CheckpointError, KeyboardInterrupt, MemoryError, OSError)


class Attempt:
    """The journal and the writers of one run, as a context manager that removes or leaves them.

    which      the run's identity
    inputs     a failed reading is worth another try only while these are unchanged
    durable    as Writer takes it
    journal    what is done; empty, or that of the attempt before
    writers    one per save
    resumed    whether this goes on where another was stopped
    reasons    why it does not, where there was another
    Fails      OutputError where another run has an output in hand, and as Writer does
    """

    def __init__(
        self,
        which: Mapping[str, Any],
        saves: Sequence[Save],
        inputs: Collection[Checkpoint],
        *,
        force: bool,
        durable: bool = True,
    ) -> None:
        self._inputs = inputs
        self._saves = saves
        self._durable = durable
        self.writers: list[Writer] = []
        self.journal = JournalFile(saves[0].path)
        try:
            head = self.journal.head
            self.reasons = [] if head is None else differences(head["run"], which)
            if head is not None and not self.reasons and not _is_hidden_again(head, saves):
                self.reasons = ["what was written of the outputs is gone"]
            self.resumed = head is not None and not self.reasons
            if not self.resumed:
                self.journal.begin(None)  # what it speaks of is about to be overwritten
            for save in saves:
                # What is to be encoded lies under a hidden name, where an earlier run may have left it.
                may_replace = force or save.encoding is not None
                self.writers.append(
                    Writer(save.image, save.path, force=may_replace, resume=self.resumed, durable=durable)
                )
            if not self.resumed:
                parts = {str(writer.path): os.stat(writer.part).st_ino for writer in self.writers}
                self.journal.begin({"run": which, "parts": parts})
        except BaseException:
            self._leave() if len(self.journal) else self._remove()
            raise

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if error is not None and len(self.journal) and self._is_worth_another(error):
            if isinstance(error, WeightmathError):
                error.hint = error.hint or KEPT
            else:
                error.args = (*error.args, KEPT)
            self._leave()
        else:
            self._remove()

    def publish(self, encode: Callable[[Save], Path]) -> None:
        """Give all outputs, which are complete, their names; a run that is killed in the midst of it can be resumed.

        encode   makes a delta file of the computed numbers, under a hidden name. These come first: it may fail
        """
        for writer in self.writers:
            writer.commit()
        if self._durable:
            self.journal.flush()
        pairs = sorted(zip(self._saves, self.writers, strict=True), key=lambda pair: pair[0].encoding is None)
        for save, writer in pairs:
            writer.publish()
            if save.encoding is not None:
                self._publish_encoded(save, encode(save))

    def _publish_encoded(self, save: Save, made: Path) -> None:
        self.journal.note(_encoded(save), os.stat(made).st_ino)
        os.replace(made, save.target)
        if self._durable:
            sync_folder(save.target.parent)

    def _is_worth_another(self, error: BaseException) -> bool:
        return isinstance(error, _STOPPED) and all(map(_is_unchanged, self._inputs))

    def _leave(self) -> None:
        for writer in self.writers:
            writer.leave()
        self.journal.close()

    def _remove(self) -> None:
        for save, writer in zip(self._saves, self.writers, strict=False):
            writer.abort()
            if save.encoding is not None:
                for path in (save.path, hidden(save.target, "encoded")):
                    path.unlink(missing_ok=True)
        self.journal.remove()


class Nothing:
    """In place of the attempt of a run that saves nothing: there is nothing to publish, and nothing to go on from."""

    writers: Sequence[Writer] = ()
    journal: None = None
    resumed = False
    reasons: Sequence[str] = ()

    def publish(self, encode: Callable[[Save], Path]) -> None:
        """There is nothing."""


def _encoded(save: Save) -> str:
    """The key under which the journal has the inode of a delta file."""
    return f"encoded {save.name}"


def check_nobody_writes(saves: Sequence[Save]) -> None:
    """OutputError where another run has an output in hand."""
    for save in saves:
        part = hidden(save.path, "part")
        if part.exists() and is_locked(part):
            raise being_written(save.path)


def published_before(which: Callable[[], Mapping[str, Any]], saves: Sequence[Save]) -> list[Path]:
    """Outputs that are in place already, as the run was stopped while it published them.

    which   the run's identity, which is asked for where there is a journal
    """
    if not saves or not hidden(saves[0].path, "journal").exists():
        return []
    journal = JournalFile(saves[0].path)
    head, inodes = journal.head, {save.target: journal.find(_encoded(save)) for save in saves}
    journal.close()
    if head is None or differences(head["run"], which()):
        return []
    encoded = [path for path, inode in inodes.items() if path.exists() and os.stat(path).st_ino == inode]
    return _published(head, saves) + encoded


def _published(head: Mapping[str, Any], saves: Sequence[Save]) -> list[Path]:
    paths = [save.path for save in saves if save.path.exists()]
    return [path for path in paths if os.stat(path).st_ino == head["parts"].get(str(path))]


def _is_hidden_again(head: Mapping[str, Any], saves: Sequence[Save]) -> bool:
    """Hide again what the run of the journal has published; whether all that it has written lies there then."""
    for path in _published(head, saves):
        os.replace(path, hidden(path, "part"))
    parts = {str(save.path): hidden(save.path, "part") for save in saves}
    there = {target: os.stat(part).st_ino for target, part in parts.items() if part.exists()}
    return bool(there == head["parts"])


def _is_unchanged(checkpoint: Checkpoint) -> bool:
    pairs = zip(checkpoint.files, checkpoint.stamps, strict=True)
    return all(path.exists() and Stamp.of(os.stat(path)) == stamp for path, stamp in pairs)
