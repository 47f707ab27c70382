"""Questions in, answers kept: by content, so that the same question is worked on once, whoever
asks.
"""

import hashlib
import json
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from loci.errors import UseError
from loci.explorer.arguments import MOST_PATCHES, PATCH_ID, Arguments, Edited, parsed
from loci.explorer.lanes import ENDED, Job, Lane
from loci.explorer.settings import Settings
from loci.explorer.spoken import command
from loci.explorer.spoken_python import python
from loci.explorer.verbs import VERBS
from loci.facts import known_facts

KEPT = 2**26
"""Bytes of results that are kept."""
REMEMBERED = 512
"""Jobs that can still be asked about."""


class Jobs:
    """All that runs, waits or is done."""

    def __init__(self, settings: Settings, setup: dict[str, Any]) -> None:
        self.settings = settings
        self.lanes = {name: Lane(name, setup, settings.queued) for name in ("quick", "slow")}
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._results: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, verb: Any, given: Any, patches: Any) -> tuple[Job, dict[str, Any]]:
        """A job for a question, or the one that works on it already; and how to ask it elsewhere.
        Raises `UseError`, `Busy`.
        """
        if verb not in VERBS:
            raise UseError(f"there is no verb {str(verb)[:40]!r}: {', '.join(VERBS)}")
        args, on = with_subject(parsed(VERBS[verb].arguments, given or {})), checked(patches or [])
        plain = args.model_dump(mode="json")
        said = {
            "command": command(verb, args, on, self.settings),
            "python": python(verb, args, on, self.settings),
        }
        key = self.key(verb, plain, on)
        with self._lock:
            same = next(
                (
                    job
                    for job in self._jobs.values()
                    if job.key == key and job.state not in ENDED and job.wanted
                ),
                None,
            )
            if same is not None:
                same.askers += 1
                return same, said
            job = Job(secrets.token_hex(8), key, verb, plain, on)
            if key in self._results:
                job.change(state="done")
            else:
                self.lanes[VERBS[verb].lane].submit(job)
            self._jobs[job.id] = job
            while len(self._jobs) > REMEMBERED:
                oldest = next(iter(self._jobs))
                if self._jobs[oldest].state not in ENDED:
                    break
                del self._jobs[oldest]
        return job, said

    def warm(self) -> Job:
        """Let the quick lane open the model before the first page asks."""
        return self.ask("about", {}, [])[0]

    def key(self, verb: str, args: dict[str, Any], patches: Sequence[str]) -> str:
        """A name for the content of a question; of one that is asked anew each time, a name of its
        own.
        """
        if not VERBS[verb].kept:
            return secrets.token_hex(16)
        opening = {name: str(value) for name, value in self.settings.opening.items()}
        content = json.dumps(
            [self.settings.model, opening, verb, args, list(patches)], sort_keys=True
        )
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def job(self, name: str) -> Job | None:
        """A job by its id, its result put away if it is done."""
        job = self._jobs.get(name)
        if job is not None and job.state == "done" and job.result is not None:
            self._put_away(job)
        return job

    def result(self, key: str) -> bytes | None:
        """The JSON of a result; None where it is not kept any more."""
        for job in list(self._jobs.values()):
            if job.key == key and job.state == "done" and job.result is not None:
                self._put_away(job)
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
            return self._results.get(key)

    def cancel(self, job: Job) -> None:
        """One page wants it no more; the last of them ends it."""
        job.askers -= 1
        if job.askers <= 0 and job.state not in ENDED:
            self.lanes[VERBS[job.verb].lane].cancel(job)

    def close(self) -> None:
        for lane in self.lanes.values():
            lane.close()

    def _put_away(self, job: Job) -> None:
        text = json.dumps(job.result, ensure_ascii=False, allow_nan=False).encode(errors="replace")
        with self._lock:
            self._results[job.key] = text
            job.result = job.part = None
            while sum(map(len, self._results.values())) > KEPT and len(self._results) > 1:
                self._results.popitem(last=False)


def with_subject(args: Arguments) -> Arguments:
    """An edit's subject, where it is not said and one known subject alone stands in the prompt.
    Raises `UseError` where it does not.
    """
    if not isinstance(args, Edited) or args.subject is not None:
        return args
    subjects = known_facts().subjects_in(args.prompt)
    if len(subjects) != 1:
        raise UseError(
            "whom is it about?"
            f" {'several known subjects stand' if subjects else 'no known subject stands'} in"
            " it: say"
            " the subject"
        )
    return args.model_copy(update={"subject": subjects[0]})


def checked(patches: Any) -> tuple[str, ...]:
    """Ids of patches. Raises `UseError` for anything else."""
    if not isinstance(patches, list) or len(patches) > MOST_PATCHES:
        raise UseError(f"patches: expected at most {MOST_PATCHES} ids")
    if not all(isinstance(one, str) and re.fullmatch(PATCH_ID, one) for one in patches):
        raise UseError("patches: expected ids of 12 hexadecimal digits")
    return tuple(patches)
