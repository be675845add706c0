"""Files of one commit of a clone, bare or not; the work tree is not looked at."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vj.errors import SourceError


@dataclass(frozen=True, slots=True)
class Clone:
    """A commit of a repository.

    Attributes
    ----------
    repository : str
        "owner/name".
    commit : str
    folder : Path
        Of its clone.
    """

    repository: str
    commit: str
    folder: Path

    @classmethod
    def find(cls, folder: Path, repository: str, commit: str) -> Clone:
        """The clone of a repository in a folder of clones.

        Names are owner/name, owner+name or name, with or without a folder "repo" below.

        Raises
        ------
        SourceError
            There is none, or it lacks the commit.
        """
        owner, _, name = repository.partition("/")
        for base in (folder / owner / name, folder / f"{owner}+{name}", folder / name):
            for place in (base, base / "repo", base / "repo" / ".git", base.with_suffix(".git")):
                if (place / ".git").exists() or (place / "objects").is_dir():
                    clone = cls(repository, commit, place)
                    if clone._git("cat-file", "-t", commit, check=False).strip() != b"commit":
                        raise SourceError(f"{place}: has no commit {commit}: fetch it")
                    return clone
        raise SourceError(
            f"{folder}: no clone of {repository}: git clone https://github.com/{repository}"
        )

    def names(self, below: str = "") -> list[str]:
        """Paths of all files below a folder, sorted."""
        listed = self._git("ls-tree", "-r", "-z", "--name-only", self.commit, "--", below or ".")
        return sorted(name for name in listed.decode().split("\0") if name)

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Names and contents, in the order asked for.

        The content is empty where the clone lacks it, as filtered clones may.
        """
        git = subprocess.Popen(
            ["git", "-C", self.folder, "cat-file", "--batch"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert git.stdin
        assert git.stdout
        try:
            for name in names:
                git.stdin.write(f"{self.commit}:{name}\n".encode())
                git.stdin.flush()
                head = git.stdout.readline().split()
                content = b""
                if head[-1] != b"missing":
                    content = git.stdout.read(int(head[-1]))
                    git.stdout.read(1)
                yield name, content
        finally:
            git.stdin.close()
            git.stdout.close()
            git.wait()

    def one(self, name: str) -> bytes:
        """Content of one file, which must be there."""
        content = next(self.read([name]))[1]
        if not content:
            raise SourceError(f"{self.folder}: {name} is missing: clone it in full")
        return content

    def _git(self, *args: str, check: bool = True) -> bytes:
        done = subprocess.run(
            ["git", "-C", self.folder, *args], capture_output=True, check=False
        )  # fmt: skip
        if check and done.returncode:
            raise SourceError(f"{self.folder}: {done.stderr.decode().strip()}")
        return done.stdout
