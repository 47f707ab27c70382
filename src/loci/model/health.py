"""Prove on a user's own model what Loci says of it: every claim measured, with its error beside
what is allowed.

Exact claims (reading changes no bit, identity patches change nothing) allow 0; the others the
rounding of the dtype, relative to the largest number compared. Runs that sum in another order allow
what the model makes of such rounding. What a family does not have is said not to apply, and why; it
is not counted as passed.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from loci.model.given import model_given
from loci.model.health_checks import CHECKS
from loci.model.health_run import Check, Patient
from loci.model.model import Model
from loci.progress import Progress, silent
from loci.result import About, Grade, Result
from loci.tables import Table, columns


@dataclass(frozen=True)
class Diagnosis(Result):
    """All checks of one model."""

    about: ClassVar[About] = About(
        "the doctor",
        "Is Loci right about this model?",
        "Each claim is measured on the model itself; the error must be within what is allowed.",
    )

    model: str
    bos: bool
    family: str
    dtype: str
    device: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        return all(check.passed is not False for check in self.checks)

    def grade(self) -> Grade:
        return "bad" if any(check.passed is False for check in self.checks) else "good"

    def title(self) -> str:
        return f"{self.model} · {self.family} · {self.dtype} on {self.device}"

    def summary(self) -> tuple[str, ...]:
        failed = [check.name for check in self.checks if check.passed is False]
        passed = sum(check.passed is True for check in self.checks)
        apart = len(self.checks) - passed - len(failed)
        words = (
            f"{len(failed)} checks fail: {'; '.join(failed)}."
            if failed
            else "Every check that applies holds."
        )
        return (f"{words} {passed} hold, {len(failed)} fail, {apart} do not apply",)

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                "–" if own.passed is None else "✓" if own.passed else "✗",
                own.name,
                "" if own.error is None else f"{own.error:.1e}" if own.error else "0",
                f"{own.allowed:.0e}" if own.allowed else "0",
                own.note,
            )
            for own in self.checks
        )
        return (Table("", columns("", "claim", "error", "allowed", ""), rows),)

    def to_dict(self) -> dict[str, Any]:
        checks = [{**asdict(check), "passed": check.passed} for check in self.checks]
        return {
            "schema": "loci.doctor/1",
            **asdict(self),
            "healthy": self.healthy,
            "checks": checks,
        }


def doctor(model: Model, *, progress: Progress = silent) -> Diagnosis:
    """Is Loci right about this model? Every claim is measured on it: logits, patches, sums,
    weights, replay, padding, tokens.

        loci.doctor(model).healthy

    Returns: `Diagnosis`: `checks` (name, error, allowed, passed), `healthy`. Cost: a few short runs
    for each point and layer.
    """
    patient = Patient(model_given(model))
    checks: list[Check] = []
    for check in CHECKS:
        checks += check(patient)
        progress(1, len(CHECKS))
    return Diagnosis(
        model=model.name,
        bos=model.with_bos,
        family=model.family,
        dtype=model.dtype_name,
        device=str(model.device),
        checks=tuple(checks),
    )
