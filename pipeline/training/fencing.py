"""Who may write a run: of all drivers and worker groups that ever began, the one that began last.

    fence = Fence.claim(storage, "host a, pid 17")     a driver; the drivers before it are out
    fence.group(3, stage=1)                            its third attempt at one; its second is out
    fence.require()                                    raises FencedError when somebody came later

A lock goes with its process and knows one host.  What has to be kept out here is the orphan: the
workers of a driver or head that was killed, which may train and save for a minute and more, and
those of a host that was cut off and that nobody can reach to stop.  So every driver takes the next
number, every group of workers a number below it for each of its stages, and whoever writes looks
first if a higher one is there.

    <run>/fence/00000007            the seventh driver of the run
    <run>/fence/00000007.0002       its second attempt

Numbers compare as text.  A driver's file is made with O_EXCL, in an object store with a
conditional put, so two drivers never hold the same number; the group's number comes from its
driver alone, so only the file's name counts.  The races, and why they harm nothing:

* Two drivers claim at once: one create fails and that driver takes the next number.
* A driver lists, sleeps, and creates a number that was used and swept since: `claim` looks again
  after creating, finds a higher one and goes on from there.
* An orphan looks, finds itself the holder, and the claim comes before its rename: what it publishes
  is a whole, verified checkpoint of this very run, with the same batches and draws behind it as
  what the new holder will write, and at the same world size the same bits.  Whichever of
  the two lands last, the folder is one or the other.  The window is one rename (in an object store
  the upload of one manifest), not one save, for `require` is called last.
* An orphan prunes: `require` comes before, and pruning keeps the newest, so at most it removes
  what the new holder does not start from.  Scratch folders carry the number of who writes them, and
  nobody removes those of a higher one.
* An orphaned Ray Train controller starts another group of an old driver: its group number lies
  below the newer driver's number, so it is out before it has begun.
* NFS keeps listings for up to a minute: on a folder `require` first makes and removes a file of its
  own there, for which the client asks the server again.  What a killed process leaves of these goes
  with the next claim.
* The clock is in no comparison.

A number goes only by a claim, which leaves a higher one.  Where neither a holder's own number nor
a higher one is there, the folder is not the one that was claimed: hosts do not share it, or it was
moved or removed.
"""

import json
import logging
import os
import secrets
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.storage import Storage
from pipeline.storage.local import VISIBLE_S
from stylealae.errors import CheckpointError

if TYPE_CHECKING:
    from pipeline.world import World

__all__ = ["Fence", "FencedError"]

log = logging.getLogger(__name__)

FOLDER = "fence"
LOOK = ".look-"
TRIES = 100


class FencedError(CheckpointError):
    """Somebody else has taken over this run."""


class Fence:
    """The right to write a run, until a higher token is claimed."""

    def __init__(self, storage: Storage, token: str, restarts: int = 0) -> None:
        """Takes up a token that was claimed, perhaps by another process."""
        self.storage, self.token = storage, token
        self.restarts = restarts
        """Attempts at stages that this run had before, less one for each stage that was done."""

    @classmethod
    def claim(cls, storage: Storage) -> "Fence":
        """Takes the next driver's number; earlier drivers and groups lose the right to write."""
        for _ in range(TRIES):
            there = _tokens(storage)
            number = int(there[-1].partition(".")[0]) + 1 if there else 1
            token, about = f"{number:08d}", _about(_starts(storage, there))
            if _made(storage, token, about) and _tokens(storage)[-1] == token:
                for old in (*there, *_looks(storage, token)):
                    storage.remove(f"{FOLDER}/{old}")
                return cls(storage, token)
        raise CheckpointError(
            f"{storage.at(FOLDER)} could not be claimed in {TRIES} tries: many drivers of this run "
            "are starting at the same time; stop all but one"
        )

    @classmethod
    def claimed_by(cls, world: "World", storage: Storage) -> "Fence | None":
        """As `claim`, on rank 0; None on the others."""
        return None if world.rank else cls.claim(storage)

    def group(self, number: int, stage: int) -> "Fence":
        """The fence of attempt `number` at a stage; attempts before it lose the right to write.

        Raises:
            CheckpointError: the driver's number is not seen here.
            FencedError: another driver or attempt came later.
        """
        self._require_shared()
        token = f"{self.token.partition('.')[0]}.{number:04d}"
        starts = _starts(self.storage, _tokens(self.storage)) + 1
        _made(self.storage, token, _about(starts))
        fence = Fence(self.storage, token, max(starts - 1 - stage, 0))
        fence.require()
        return fence

    def require(self) -> None:
        """Returns if no higher token has been claimed.

        Raises:
            FencedError: one has.
            CheckpointError: neither this one nor a higher one is there.
        """
        tokens = _tokens(self.storage)
        if tokens and not self.storage.remote:  # where the folder is gone it is not made anew
            look = f"{FOLDER}/{LOOK}{self.token}-{os.getpid()}"
            with suppress(OSError):  # a full disk, say: then the listing alone has to do
                self.storage.create(look, b"")
                self.storage.remove(look)
            tokens = _tokens(self.storage)
        if self.token not in tokens:  # a listing that a claim crosses may show neither number
            tokens = _tokens(self.storage)
        newest = max(tokens, default="")
        if "." not in self.token:  # a driver's own groups did not come later
            newest = newest.partition(".")[0]
        if newest > self.token:
            raise FencedError(
                f"{self.storage.where} was taken over by another start of the same run (number "
                f"{newest}, this one is {self.token}): this one leaves it alone and ends. If that "
                "was not meant, give one of the two a run_dir of its own"
            )
        if self.token not in tokens:
            self._require_there()

    def _require_there(self) -> None:
        """Returns if this token can be read, whatever a listing says."""
        try:
            self.storage.read(f"{FOLDER}/{self.token}")
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{self.storage.at(FOLDER)} no longer holds {self.token}, this process's mark: "
                f"{self.storage.where} was moved or removed while it was being trained. Put it "
                "back, or give its new place as run_dir; the same command then goes on from its "
                "newest checkpoint"
            ) from error

    def _require_shared(self) -> None:
        """Returns once the driver's number, or a higher one, is seen on this host."""
        driver = self.token.partition(".")[0]
        until = time.monotonic() + VISIBLE_S
        while max(_tokens(self.storage), default="") < driver:  # NFS shows it after a while
            if time.monotonic() > until:
                raise CheckpointError(
                    f"{self.storage.at(FOLDER)}, as host {socket.gethostname()} sees it, does not "
                    f"hold {driver}, the mark of the driver that began this attempt: run_dir must "
                    "be a folder that all hosts share, or a URL; if it is one, it was moved or "
                    "removed meanwhile"
                )
            time.sleep(1.0)

    def outranks(self, token: str) -> bool:
        """Whether what carries a token was written by somebody before."""
        return token < self.token


def _made(storage: Storage, token: str, about: bytes) -> bool:
    try:
        return storage.create(f"{FOLDER}/{token}", about)
    except OSError as error:
        raise CheckpointError(
            f"could not write {storage.at(FOLDER)} ({error}): free some space or mend the folder, "
            "then give the same command again"
        ) from error


def _about(starts: int) -> bytes:
    """What a file holds, for who looks: the number alone counts.

    No two are equal, as in containers host and process may be: a store that lets a file be created
    twice is asked whose it holds.
    """
    who = {"host": socket.gethostname(), "pid": os.getpid(), "mark": secrets.token_hex(8)}
    return json.dumps({**who, "starts": starts}).encode()


def _starts(storage: Storage, tokens: list[str]) -> int:
    """How many attempts at stages the run has had, as far as that can be read."""
    try:
        return int(json.loads(storage.read(f"{FOLDER}/{tokens[-1]}"))["starts"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return 0


def _looks(storage: Storage, token: str) -> list[str]:
    """What those who came before a token have left of their looks, or look with just now."""
    looks = [name for name in storage.names(FOLDER) if name.startswith(LOOK)]
    return [name for name in looks if name.removeprefix(LOOK) < token]


def _tokens(storage: Storage) -> list[str]:
    """Every number that was taken, the newest last."""
    return [name for name in storage.names(FOLDER) if name[:1].isdigit()]
